"""Training as in section 3.1: mini-batches, cross-entropy, SGD or Adam, a learning rate that may follow validation."""

import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from src.batches import AugmentParams, in_order, shuffled
from src.checkpoint import Checkpoint
from src.dataset import Dataset
from src.errors import InputError
from src.initialization import Dropout, Init, InitStd
from src.optimization import OptimizerParams, ScheduleParams, make_optimizer, make_schedule
from src.params import Section, Seed
from src.progress import Progress
from src.runtime import Runtime, RuntimeParams
from src.seeding import seed_of

CHECK_EVERY = 20  # steps between looks at the loss: each look waits for the device
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

    Args:
        train, validation: on the device of `runtime`.
        log: called once for each epoch, from 1, in order; after a resume also for the epochs done before. With
            `epochs` 0 it is called once, for epoch 0, with the scores of the untrained network.
        name: of what is trained, for messages.

    Raises:
        InputError: the loss is no longer finite.
        KeyboardInterrupt: stopped; its message says what is kept.
    """
    optimizer = make_optimizer(network, params.optimizer)
    schedule = make_schedule(optimizer, params.schedule)
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.dtype == torch.float16)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    history = _resume(checkpoint, parts)
    for epoch, scores in enumerate(history, start=1):
        log(epoch, scores)
    if epochs == 0:
        log(0, _scores(validate(network, train, runtime), validate(network, validation, runtime), optimizer))

    progress = Progress(name, epochs=epochs, images=len(train), done=len(history))
    try:
        for epoch in range(len(history) + 1, epochs + 1):
            batches = shuffled(train, params.batch_size, params.augment, seed=params.seed, epoch=epoch)
            started = time.monotonic()
            while_training = train_epoch(
                network, batches, optimizer, scaler, runtime, seed=params.seed, epoch=epoch, progress=progress
            )
            seconds = time.monotonic() - started
            scores = _scores(while_training, validate(network, validation, runtime), optimizer)
            schedule.step(scores["validation/accuracy"])
            state = {key: part.state_dict() for key, part in parts.items()}
            checkpoint.save(state | {"history": [*history, scores]})
            history.append(scores)
            log(epoch, scores)
            progress.epoch(epoch, scores, seconds)
    except KeyboardInterrupt:
        message = f"{name}: stopped; {len(history)} of {epochs} epochs are kept, the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    finally:
        progress.close()


def train_epoch(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    runtime: Runtime,
    *,
    seed: int,
    epoch: int,
    progress: Progress,
) -> tuple[float, float]:
    """One pass over the training images; returns mean loss and accuracy over them, as they were while training.

    Raises:
        InputError: the loss is not finite; the message has epoch, step and learning rate.
    """
    network.train()
    meter = Meter(runtime.device)
    for step, (images, labels) in enumerate(batches):
        torch.manual_seed(seed_of(seed, epoch, step, 1))  # dropout's; the 1 keeps it apart from augmentation's
        with runtime.autocast():
            logits = network(images).float()
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        meter.add(loss.detach(), logits, labels)
        if step % CHECK_EVERY == 0:
            progress.step(epoch, meter.images, _newest(meter, epoch, optimizer))
    progress.step(epoch, meter.images, _newest(meter, epoch, optimizer))
    return meter.result()


@torch.no_grad()
def validate(network: nn.Module, dataset: Dataset, runtime: Runtime) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a data set, without dropout."""
    network.eval()
    meter = Meter(runtime.device)
    for images, labels in in_order(dataset, VALIDATION_BATCH):
        with runtime.autocast():
            logits = network(images).float()
        meter.add(F.cross_entropy(logits, labels), logits, labels)
    return meter.result()


class Meter:
    """Loss and hits over images. Everything stays on the device until it is asked for, so that no step waits."""

    def __init__(self, device: torch.device) -> None:
        self.losses: list[Tensor] = []  # mean over each batch
        self.sizes: list[int] = []  # images in each batch
        self.hits = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def images(self) -> int:
        return sum(self.sizes)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: its mean loss, logits [B, classes] and labels [B]."""
        self.losses.append(loss)
        self.sizes.append(len(labels))
        self.hits += (logits.argmax(dim=1) == labels).sum()

    def result(self) -> tuple[float, float]:
        """Mean loss and accuracy over all images: sums divided by what was seen, the last batch being smaller."""
        losses = torch.stack(self.losses).double().cpu()
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        return float(losses @ sizes) / self.images, int(self.hits) / self.images


def _resume(checkpoint: Checkpoint, parts: dict[str, Any]) -> list[Scores]:
    """Put every part into the state of the checkpoint, if there is one; returns the scores of the epochs done."""
    state = checkpoint.load()
    if state is None:
        return []
    for key, part in parts.items():
        part.load_state_dict(state[key])
    history: list[Scores] = state["history"]
    return history


def _scores(train: tuple[float, float], validation: tuple[float, float], optimizer: Optimizer) -> Scores:
    return {
        "train/loss": train[0],
        "train/accuracy": train[1],
        "validation/loss": validation[0],
        "validation/accuracy": validation[1],
        "lr": optimizer.param_groups[0]["lr"],
    }


def _newest(meter: Meter, epoch: int, optimizer: Optimizer) -> float:
    """The newest loss, after a look at all since the last look."""
    losses = torch.stack(meter.losses[-CHECK_EVERY:]).cpu()
    finite = losses.isfinite()
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        step = len(meter.losses) - len(losses) + bad + 1
        raise InputError(
            f"epoch {epoch}, step {step}: the loss is {losses[bad]:.4g} at learning rate "
            f"{optimizer.param_groups[0]['lr']:g}; lower optimizer.lr, or change init or image.pixel_scale"
        )
    return float(losses[-1])
