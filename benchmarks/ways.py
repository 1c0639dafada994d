"""Three ways to train the same network on the same images: the usual one, the reference, and this project's."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any

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
from benchmarks.workers import median, synchronize
from src.batches import shuffled
from src.dataset import Dataset, ImageFormat
from src.initialization import build
from src.params import load
from src.runtime import DTYPES, cores, native_dtype, start
from src.seeding import seed_of
from src.training import LOOK_EVERY, Run, TrainingParams, newest_loss
from src.vgg import Column

IMAGES = 45_000  # training images of CIFAR-10 without validation
LOADER_WORKERS = 16  # at most; never more than there are cores


@dataclass(frozen=True)
class Case:
    """What is trained: a network of table 1, images of side x side pixels, batches of so many images."""

    column: Column
    side: int
    batch: int

    @property
    def network(self) -> str:
        return {"A": "VGG11", "D": "VGG16"}[self.column]

    @property
    def resize(self) -> int:
        """Pixels a side before the crop: 256 for 224, else no resize."""
        return 256 if self.side == 224 else self.side

    def __str__(self) -> str:
        return f"{self.network}, {self.side} px, batch {self.batch}"


def cases() -> list[Case]:
    """What is compared: both networks at both sizes; a CPU gets smaller batches of large images."""
    at_224 = 256 if device().type == "cuda" else 16
    return [Case("A", 32, 256), Case("D", 32, 256), Case("A", 224, at_224), Case("D", 224, at_224)]


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synthetic(case: Case) -> Dataset:
    """As many random images as fill whole batches: time does not depend on what they show."""
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
            mean=(0.5, 0.4, 0.3),
            covariance=((0.06, 0.05, 0.04), (0.05, 0.06, 0.05), (0.04, 0.05, 0.07)),
        ),
    )


class Way:
    """A way to train: a step is a batch and what is learnt from it.

    Attributes:
        work: images a step.
        precision: of matrix products and convolutions: a key of `DTYPES`.
    """

    precision = "fp32"
    network: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, case: Case) -> None:
        self.work = float(case.batch)

    @abstractmethod
    def batch(self) -> tuple[Tensor, Tensor]:
        """The next images, float32 [B, 3, side, side], and labels, int64 [B], on the device."""

    @abstractmethod
    def learn(self, images: Tensor, labels: Tensor) -> None:
        """Forward, backward, optimizer."""

    def step(self) -> None:
        self.learn(*self.batch())


class Usual(Way):
    """As nearly every repository of this kind: loader workers, PIL, fp32, NCHW, a look at the loss each step."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.network = torchvision_network(case).to(device())
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        loader = data.DataLoader(
            PilImages(synthetic(case)),
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

    def learn(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        loss.item()


class PilImages(data.Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR10 gives them, one by one through PIL."""

    def __init__(self, dataset: Dataset) -> None:
        self.images: NDArray[np.uint8] = dataset.images.permute(0, 2, 3, 1).contiguous().numpy()  # [N, H, W, 3]
        self.labels = dataset.labels.tolist()
        enlarge = [transforms.Resize(dataset.format.resize), transforms.CenterCrop(dataset.format.crop)]
        self.transform = transforms.Compose(
            [
                *(enlarge if dataset.format.resize != self.images.shape[1] else []),
                transforms.ToTensor(),
                transforms.Normalize(dataset.format.mean, (1, 1, 1)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Reference(Way):
    """The best that torchvision's parts give: v2 transforms on whole batches on the device, AMP, channels last.

    As in torchvision's training reference the loss is looked at each step, and the optimizer is as it comes.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.precision = "bf16" if native_dtype(device()) == torch.bfloat16 else "fp32"
        self.network = torchvision_network(case).to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        self.data = synthetic(case).to(device())
        enlarge = [v2.Resize(case.resize), v2.CenterCrop(case.side)]
        self.transform = v2.Compose(
            [
                *(enlarge if case.resize != self.data.images.shape[-1] else []),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(self.data.format.mean, (1, 1, 1)),
            ]
        )
        self.order = (indices for _ in count() for indices in torch.split(torch.randperm(len(self.data)), case.batch))

    def batch(self) -> tuple[Tensor, Tensor]:
        indices = next(self.order).to(device())
        images: Tensor = self.transform(self.data.images[indices])
        return images.contiguous(memory_format=torch.channels_last), self.data.labels[indices]

    def learn(self, images: Tensor, labels: Tensor) -> None:
        with torch.autocast(device().type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss = F.cross_entropy(self.network(images), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        loss.item()


def torchvision_network(case: Case) -> nn.Module:
    """torchvision's network for ten classes.

    At other sizes than 224 its adaptive pooling would repeat what is left of the image until fc6 had 25,088 inputs (at
    32 pixels the same 512 values 49 times, 103 M weights for nothing). There the pooling goes and fc6 gets
    as many inputs as there are values: the network that the others train.
    """
    make = {"A": models.vgg11, "D": models.vgg16}[case.column]
    network: Any = make(num_classes=CLASSES)
    if case.side != 224:
        network.avgpool = nn.Identity()
        network.classifier[0] = nn.Linear(512 * (case.side // 32) ** 2, 4096)
    return network  # type: ignore[no-any-return]


class Project(Way):
    """This project as `dvc repro` trains with params.yaml on one device, but for the size of images and batches.

    Args:
        compiled: with `runtime.compile`, whatever params.yaml says.
    """

    def __init__(self, case: Case, *, compiled: bool = False) -> None:
        super().__init__(case)
        params = load(TrainingParams)
        runtime = params.runtime.model_copy(update={"compile": compiled or params.runtime.compile, "devices": 1})
        self.params = params.model_copy(update={"batch_size": case.batch, "runtime": runtime})
        self.runtime = start(self.params.runtime)
        self.precision = next(name for name, dtype in DTYPES.items() if dtype == self.runtime.dtype)
        dataset = synthetic(case).to(self.runtime.device)
        network = build(case.column, dataset.format, **self.params.initial())
        self.run = Run(self.runtime.place(network), self.params, self.runtime)
        self.network, self.optimizer = self.run.network, self.run.optimizer
        self.batches = self._epochs(dataset)

    def _epochs(self, dataset: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in count(1):
            for images, labels, _ in shuffled(
                dataset, self.params.batch_size, self.params.augment, seed=self.params.seed, epoch=epoch
            ):
                yield images, labels

    def batch(self) -> tuple[Tensor, Tensor]:
        return next(self.batches)

    def learn(self, images: Tensor, labels: Tensor) -> None:
        step = len(self.run.meter.losses)
        torch.manual_seed(seed_of(self.params.seed, 1, step, 1))
        self.run.step(images, labels, len(labels))
        if step % LOOK_EVERY == 0:
            newest_loss(self.run, epoch=1)


WAYS = {"usual": Usual, "reference": Reference, "project": Project}


def parts(way: Way, steps: int) -> dict[str, float]:
    """Seconds of a step (medians): `data` until the batch is there, `optimizer`, and `network`, which is the rest."""
    times: dict[str, list[float]] = {"data": [], "network": [], "optimizer": []}
    marks: list[float] = []

    def mark(*_: object) -> None:
        synchronize()
        marks.append(perf_counter())

    hooks = [way.optimizer.register_step_pre_hook(mark), way.optimizer.register_step_post_hook(mark)]
    for _ in range(steps):
        marks.clear()
        mark()
        batch = way.batch()
        mark()
        way.learn(*batch)
        mark()
        start_, has_batch, before, after, end = marks
        times["data"].append(has_batch - start_)
        times["optimizer"].append(after - before)
        times["network"].append(end - has_batch - (after - before))
    for hook in hooks:
        hook.remove()
    return {part: median(seconds) for part, seconds in times.items()}
