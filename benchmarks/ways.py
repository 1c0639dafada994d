"""Three ways to train the same network on the same images: the usual one, a reference, and this project's."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils import data
from torchvision import models, transforms
from torchvision.transforms import v2

from benchmarks.flops import CLASSES
from benchmarks.machine import device, use_full_fp32
from src.base.params import load
from src.compute.runtime import DTYPES, cores, native_dtype, start_runtime
from src.compute.seeds import seed_of
from src.images.batches import shuffled
from src.images.dataset import Dataset
from src.images.format import ImageFormat
from src.networks.memory import inference_batch
from src.networks.vgg import Letter
from src.training.loop import LOOK_EVERY, check_losses
from src.training.run import Run, TrainingParams

IMAGES = 45_000
"""As many as CIFAR-10 has for training, without 5,000 for validation."""
LOADER_WORKERS = 16
"""At most. Never more than there are cores."""
MEAN = (0.5, 0.4, 0.3)
"""Of the channels, in 0..1: what all ways subtract."""


@dataclass(frozen=True)
class Case:
    """What is trained: a network of table 1, on images of side x side pixels, in batches of this many images.

    Attributes:
        fp32: whether every way computes in fp32, also where the hardware multiplies bf16 natively.
    """

    network: Letter
    side: int
    batch: int
    fp32: bool = False

    @property
    def precision(self) -> str:
        """A key of `DTYPES`, of the ways that choose the fastest precision."""
        return "bf16" if not self.fp32 and native_dtype(device()) == torch.bfloat16 else "fp32"

    @property
    def resize(self) -> int:
        """Height and width in pixels before the crop: 256 for 224, else there is no resize."""
        return 256 if self.side == 224 else self.side

    def __str__(self) -> str:
        return f"{ {'A': 'VGG11', 'D': 'VGG16'}[self.network] }, {self.side} px, batch {self.batch}"


def cases(fp32: bool) -> list[Case]:
    """Both networks at both sizes, and small batches. On a CPU, batches of large images are smaller."""
    at_224 = 256 if device().type == "cuda" else 16
    return [
        Case("A", 32, 256, fp32),
        Case("D", 32, 256, fp32),
        Case("D", 32, 32, fp32),
        Case("A", 224, at_224, fp32),
        Case("D", 224, at_224, fp32),
    ]


def forward_cases(fp32: bool) -> list[Case]:
    """VGG16 at both sizes, in the batches of `evaluate`."""
    return [Case("D", side, inference_batch(side), fp32) for side in (32, 224)]


def synthetic(case: Case) -> Dataset:
    """Random images, as many as fill whole batches. What an image shows does not matter to the time."""
    generator = torch.Generator().manual_seed(0)
    images = IMAGES // case.batch * case.batch
    return Dataset(
        images=torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, generator=generator),
        labels=torch.randint(0, CLASSES, (images,), generator=generator),
        format=ImageFormat(
            classes=tuple("abcdefghij"),
            resize=case.resize,
            crop=case.side,
            pixel_scale=1,
            mean=MEAN,
            covariance=((0.06, 0.05, 0.04), (0.05, 0.06, 0.05), (0.04, 0.05, 0.07)),
        ),
    )


class Way:
    """A way to train. One step is one batch and what the network learns from it.

    Attributes:
        work: images per step.
        precision: of matrix products and convolutions: a key of `DTYPES`.
    """

    precision = "fp32"
    network: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, case: Case) -> None:
        use_full_fp32()
        self.work = float(case.batch)

    @abstractmethod
    def batch(self) -> tuple[Tensor, Tensor]:
        """The next images, float32 [B, 3, side, side], and labels, int64 [B], on the device."""

    def learn(self, images: Tensor, labels: Tensor) -> None:
        """Forward pass, backward pass, update of the weights, as in torchvision's training reference."""
        with self.autocast():
            loss = F.cross_entropy(self.network(images), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        loss.item()

    def autocast(self) -> torch.autocast:
        return torch.autocast(device().type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def step(self) -> None:
        self.learn(*self.batch())


class Usual(Way):
    """What most repositories of this kind do: loader workers, PIL, fp32, NCHW, a read of the loss in each step."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.network = torchvision_network(case).to(device())
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        loader = data.DataLoader(
            PilImages(case),
            case.batch,
            shuffle=True,
            drop_last=True,
            num_workers=min(LOADER_WORKERS, cores()),
            pin_memory=device().type == "cuda",
            persistent_workers=True,
        )
        self.batches = (batch for _ in count() for batch in loader)

    def batch(self) -> tuple[Tensor, Tensor]:
        images, labels = next(self.batches)
        return images.to(device()), labels.to(device())


class PilImages(data.Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR10 gives them: one by one, through PIL."""

    def __init__(self, case: Case) -> None:
        dataset = synthetic(case)
        self.images: NDArray[np.uint8] = dataset.images.permute(0, 2, 3, 1).contiguous().numpy()  # [N, H, W, 3]
        self.labels = dataset.labels.tolist()
        enlarge = [transforms.Resize(case.resize), transforms.CenterCrop(case.side)] if case.resize > 32 else []
        self.transform = transforms.Compose([*enlarge, transforms.ToTensor(), transforms.Normalize(MEAN, (1, 1, 1))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Reference(Way):
    """The best that torchvision's parts give: v2 transforms of whole batches on the device, AMP, channels last."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.precision = case.precision
        self.network = torchvision_network(case).to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        self.data = synthetic(case).to(device())
        enlarge = [v2.Resize(case.resize), v2.CenterCrop(case.side)] if case.resize > 32 else []
        self.transform = v2.Compose([*enlarge, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, (1, 1, 1))])
        self.order = (indices for _ in count() for indices in torch.split(torch.randperm(len(self.data)), case.batch))

    def batch(self) -> tuple[Tensor, Tensor]:
        indices = next(self.order).to(device())
        images: Tensor = self.transform(self.data.images[indices])
        return images.contiguous(memory_format=torch.channels_last), self.data.labels[indices]


def torchvision_network(case: Case) -> nn.Module:
    """torchvision's network, for ten classes.

    At 32 pixels torchvision's adaptive pooling repeats the last 512 values 49 times, so that fc6 has 25,088 inputs and
    103 million weights that add nothing. At sizes other than 224 this function therefore drops the pooling and gives
    fc6 one input per value, as in the network of this project.
    """
    network: Any = {"A": models.vgg11, "D": models.vgg16}[case.network](num_classes=CLASSES)
    if case.side != 224:
        network.avgpool = nn.Identity()
        network.classifier[0] = nn.Linear(512 * (case.side // 32) ** 2, 4096)
    return network  # type: ignore[no-any-return]


class Project(Way):
    """This project as `dvc repro` trains on one device, with params.yaml but for the sizes of images and batches."""

    changes: ClassVar[dict[str, object]] = {"devices": 1}
    """Of `runtime` in params.yaml."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        params = load(TrainingParams)
        precision = {"precision": "fp32"} if case.fp32 else {}
        runtime = start_runtime(params.runtime.model_copy(update=self.changes | precision))
        self.precision = next(name for name, dtype in DTYPES.items() if dtype == runtime.dtype)
        dataset = synthetic(case).to(runtime.device)
        self.run = Run(runtime.place(params.build(case.network, dataset.format)), params, runtime)
        self.network, self.optimizer = self.run.network, self.run.optimizer
        self.batches = (
            batch
            for epoch in count(1)
            for batch in shuffled(dataset, case.batch, params.augment, seed=params.seed, epoch=epoch)
        )

    def batch(self) -> tuple[Tensor, Tensor]:
        images, labels, _ = next(self.batches)
        return images, labels

    def learn(self, images: Tensor, labels: Tensor) -> None:
        step = len(self.run.meter.losses)
        torch.manual_seed(seed_of("dropout", self.run.params.seed, 1, step, 0))
        self.run.step(images, labels, len(labels))
        if step % LOOK_EVERY == 0:
            check_losses(self.run)


class Library(Project):
    """This project with the convolutions of PyTorch's library everywhere."""

    changes: ClassVar[dict[str, object]] = Project.changes | {"convolution": "library"}


WAYS: dict[str, Callable[[Case], Way]] = {
    "usual": Usual,
    "reference": Reference,
    "library": Library,
    "project": Project,
}


def ways_of(case: Case) -> dict[str, Callable[[Case], Way]]:
    """The ways that differ on this case. The project has convolutions of its own only on a CPU in fp32."""
    own = device().type == "cpu" and case.precision == "fp32"
    return {name: way for name, way in WAYS.items() if own or name != "library"}


class Forward:
    """The forward passes of a way, without gradients, on one batch.

    Attributes:
        work: images per step.
    """

    def __init__(self, way: Callable[[Case], Way], case: Case) -> None:
        self.way, self.work = way(case), float(case.batch)
        self.images, _ = self.way.batch()
        self.way.network.eval()

    @torch.inference_mode()
    def step(self) -> None:
        with self.way.autocast():
            self.way.network(self.images)
