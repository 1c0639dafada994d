"""Training as in section 3.1: mini-batches, cross-entropy, SGD or Adam, a learning rate that may follow validation."""

import math
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from src import distributed
from src.batches import AugmentParams, in_order, shuffled
from src.checkpoint import Checkpoint
from src.dataset import Dataset
from src.errors import InputError
from src.initialization import Dropout, Init, InitStd
from src.meter import Meter, count_hits, means
from src.optimization import OptimizerParams, ScheduleParams, make_optimizer, make_schedule
from src.params import Section, Seed
from src.progress import Progress
from src.runtime import Runtime, RuntimeParams
from src.seeding import seed_of

LOOK_EVERY = 20  # steps between looks at the loss: each look waits for the device
SAVE_AFTER = 600  # seconds after the last checkpoint until one is written inside an epoch
VALIDATION_BATCH = 500  # images; does not change results beyond rounding


Epochs = Annotated[int, Field(ge=0)]


class TrainingParams(Section):
    """The keys of params.yaml that both training stages use."""

    seed: Seed
    augment: AugmentParams
    init: Init
    init_std: InitStd
    dropout: Dropout
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: OptimizerParams
    schedule: ScheduleParams
    runtime: RuntimeParams

    def initial(self) -> dict[str, Any]:
        """The arguments of `initialization.build`."""
        return {"seed": self.seed, "init": self.init, "std": self.init_std, "dropout": self.dropout}


Scores = dict[str, float]
"""`train/loss`, `train/accuracy`, `validation/loss`, `validation/accuracy` and `lr` of an epoch."""


def fit(
    network: nn.Module,
    train: Dataset,
    validation: Dataset,
    *,
    epochs: int,
    params: TrainingParams,
    runtime: Runtime,
    checkpoint: Checkpoint,
    log: Callable[[int, Scores], None],
    name: str,
) -> None:
    """Train `network`, on the device of `runtime`, from its present weights or from where a stopped run left off.

    With several processes each calls this; they train one network and come to the same scores.

    Args:
        train, validation: on the device of `runtime`.
        checkpoint: read and written by the first process alone.
        log: called once for each epoch, from 1, in order; after a resume also for the epochs done before. With
            `epochs` 0 it is called once, for epoch 0, with the scores of the untrained network.
        name: of what is trained, for messages.

    Raises:
        InputError: the loss is no longer finite, or the memory of a GPU too small for the batch.
        KeyboardInterrupt: stopped; its message says what is kept.
    """
    run = Run(network, params, runtime)
    if state := distributed.from_first(checkpoint.load() if distributed.is_first() else None):
        run.load_state_dict(state)
        del state  # as large as network and optimizer together
    kept = run.position()
    for epoch, scores in enumerate(run.history, start=1):
        log(epoch, scores)
    if epochs == 0:
        log(0, run.scores(validate(network, train, runtime), validate(network, validation, runtime)))

    def save() -> None:
        nonlocal kept
        if distributed.is_first() and checkpoint.save(run.state_dict()):
            kept = run.position()

    progress = Progress(name, epochs=epochs, images=len(train), done=len(run.history))
    try:
        for epoch in range(len(run.history) + 1, epochs + 1):
            done, started = run.meter.images, time.monotonic()
            train_epoch(run, train, epoch, progress, save)
            rate = (len(train) - done) / (time.monotonic() - started)
            scores = run.scores(run.meter.result(), validate(network, validation, runtime))
            if not math.isfinite(scores["validation/loss"]):
                raise run.overflow(f"epoch {epoch}, validation", scores["validation/loss"])
            run.end_epoch(scores)
            save()
            log(epoch, scores)
            progress.epoch(epoch, scores, rate)
    except KeyboardInterrupt:
        message = f"{name}: stopped; kept: {kept} (of {counted(epochs, 'epoch')}); the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name}: {reason}; lower batch_size, or set runtime.devices to share it") from None
    finally:
        progress.close()


class Run:
    """Everything that changes while a network is trained, which is what a checkpoint holds.

    Attributes:
        history: scores of the epochs done.
        meter: what the epoch under way has seen.
    """

    def __init__(self, network: nn.Module, params: TrainingParams, runtime: Runtime) -> None:
        self.network, self.params, self.runtime = network, params, runtime
        self.gradients = distributed.GradientSum(network)
        self.optimizer = make_optimizer(network, params.optimizer)
        self.schedule = make_schedule(self.optimizer, params.schedule)
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.dtype == torch.float16)
        self.history: list[Scores] = []
        self.meter = Meter(runtime.device)

    def step(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        """One step of gradient descent on the mean cross-entropy of a batch.

        Args:
            images, labels: this process's part of the batch.
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
        loss, hits = distributed.total(sums)
        self.meter.add(loss, hits.long(), batch_size)

    def end_epoch(self, scores: Scores) -> None:
        """Note the scores of the epoch under way and be ready for the next."""
        self.history.append(scores)
        self.schedule.step(scores["validation/accuracy"])
        self.meter = Meter(self.runtime.device)

    def scores(self, train: tuple[float, float], validation: tuple[float, float]) -> Scores:
        """Name the mean loss and the accuracy on both splits, and the learning rate they were reached with."""
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
        """Say that the loss is not finite, and what can be done."""
        return InputError(
            f"{where}: the loss is {loss:.4g} at learning rate {self.learning_rate():g}; "
            "lower optimizer.lr, or change init or image.pixel_scale"
        )

    def position(self) -> str:
        """How far it is, in words."""
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


def train_epoch(run: Run, dataset: Dataset, epoch: int, progress: Progress, save: Callable[[], None]) -> None:
    """Show the network every training image once, or those that `run` has not seen yet in this epoch.

    Args:
        save: called when the last checkpoint is `SAVE_AFTER` seconds old.

    Raises:
        InputError: the loss is not finite; the message has epoch, step and learning rate.
    """
    params, saved = run.params, time.monotonic()
    first = len(run.meter.losses)
    batches = shuffled(dataset, params.batch_size, params.augment, seed=params.seed, epoch=epoch, first=first)
    run.network.train()
    for step, (images, labels, batch_size) in enumerate(batches, start=first):
        # Dropout's numbers: the 1 keeps them apart from augmentation's, the rank from those of the other processes.
        torch.manual_seed(seed_of(params.seed, epoch, step, 1, distributed.rank()))
        run.step(images, labels, batch_size)
        overdue = time.monotonic() - saved > SAVE_AFTER
        if step % LOOK_EVERY == 0 or overdue:
            progress.step(epoch, run.meter.images, newest_loss(run, epoch))
        if overdue:
            save()
            saved = time.monotonic()
    progress.step(epoch, run.meter.images, newest_loss(run, epoch))


def newest_loss(run: Run, epoch: int) -> float:
    """The newest loss, after a look at all since the last look.

    Raises:
        InputError: one of them is not finite.
    """
    losses = torch.stack(run.meter.losses[-LOOK_EVERY:]).cpu()
    finite = losses.isfinite()
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        step = len(run.meter.losses) - len(losses) + bad + 1
        raise run.overflow(f"epoch {epoch}, step {step}", float(losses[bad]))
    return float(losses[-1])


@torch.no_grad()
def validate(network: nn.Module, dataset: Dataset, runtime: Runtime) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a data set, without dropout; every process does its share of the batches."""
    network.eval()
    meter = Meter(runtime.device)
    for images, labels in in_order(dataset, VALIDATION_BATCH):
        with runtime.autocast():
            logits = network(images).float()
        meter.add(F.cross_entropy(logits, labels), count_hits(logits, labels), len(labels))
    return means(distributed.total(meter.sums()))


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
