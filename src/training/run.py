"""One training run: its parameters, its state, and one step of gradient descent."""

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from src.base.errors import InputError
from src.base.params import Section, Seed
from src.compute import processes
from src.compute.runtime import Runtime, RuntimeParams
from src.images.augmentation import AugmentParams
from src.images.format import ImageFormat
from src.networks.initialization import Dropout, Init, InitStd, build
from src.networks.vgg import VGG, Letter
from src.training.meter import Meter, count_hits
from src.training.optimizer import OptimizerParams, ScheduleParams, make_optimizer, make_schedule

Epochs = Annotated[int, Field(ge=0, lt=2**31)]
Scores = dict[str, float]
"""Of one epoch: `train/loss`, `train/accuracy`, `validation/loss`, `validation/accuracy` and `lr`."""


class TrainingParams(Section):
    """The keys of params.yaml that both training stages use."""

    seed: Seed
    augment: AugmentParams
    init: Init
    init_std: InitStd
    dropout: Dropout
    batch_size: Annotated[int, Field(ge=1, lt=2**31)]
    optimizer: OptimizerParams
    schedule: ScheduleParams
    runtime: RuntimeParams

    def build(self, network: Letter, image_format: ImageFormat) -> VGG:
        """A network with new weights."""
        return build(
            network, image_format, seed=self.seed, init=self.init, init_std=self.init_std, dropout=self.dropout
        )


class Run:
    """Everything that changes while a network is trained: the content of a checkpoint.

    Attributes:
        history: scores of the completed epochs.
        meter: loss and hits of the current epoch so far.
    """

    def __init__(self, network: nn.Module, params: TrainingParams, runtime: Runtime) -> None:
        self.network, self.params, self.runtime = network, params, runtime
        self.gradients = processes.GradientSum(network)
        self.optimizer = make_optimizer(network, params.optimizer)
        self.schedule = make_schedule(self.optimizer, params.schedule)
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.dtype == torch.float16)
        self.history: list[Scores] = []
        self.meter = Meter(runtime.device)

    @property
    def epoch(self) -> int:
        """The current epoch, from 1."""
        return len(self.history) + 1

    def step(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        """One step of gradient descent on the mean cross-entropy of a batch.

        Args:
            images, labels: the part of the batch that belongs to this process.
            batch_size: images in the whole batch.
        """
        with self.runtime.autocast():
            logits = self.network(images).float()
        loss = F.cross_entropy(logits, labels, reduction="sum") / batch_size
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.gradients.wait()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        sums = torch.stack([loss.detach().double(), count_hits(logits, labels).double()])
        loss, hits = processes.total(sums)
        self.meter.add(loss, hits.long(), batch_size)

    def end_epoch(self, scores: Scores) -> None:
        """Store the scores of the current epoch and begin the next one."""
        self.history.append(scores)
        self.schedule.step(scores["validation/accuracy"])
        self.meter = Meter(self.runtime.device)

    def scores(self, train: tuple[float, float], validation: tuple[float, float]) -> Scores:
        """The scores of an epoch, from (mean loss, accuracy) on both splits, with the current learning rate."""
        return {
            "train/loss": train[0],
            "train/accuracy": train[1],
            "validation/loss": validation[0],
            "validation/accuracy": validation[1],
            "lr": self.learning_rate(),
        }

    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def overflow(self, where: str, loss: float) -> InputError:
        """The error for a loss that is not finite."""
        return InputError(
            f"{where}: the loss is {loss:.4g} at learning rate {self.learning_rate():g}; "
            "lower optimizer.lr, or change init or image.pixel_scale"
        )

    def position(self) -> str:
        """The completed epochs and steps, in words."""
        steps = f" and {counted(len(self.meter.losses), 'step')}" if self.meter.losses else ""
        return f"{counted(len(self.history), 'epoch')}{steps}"

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts()} | {"history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts():
            part.load_state_dict(state[name])
        self.history = state["history"]

    def _parts(self) -> list[tuple[str, Any]]:
        names = ("network", "optimizer", "schedule", "scaler", "meter")
        return [(name, getattr(self, name)) for name in names]


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
