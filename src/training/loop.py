"""The training loop of section 3.1: mini-batches, cross-entropy, and a learning rate that may follow validation."""

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from src.base.errors import InputError
from src.compute import processes
from src.compute.runtime import Runtime
from src.compute.seeds import seed_of
from src.images.batches import in_order, shuffled
from src.images.dataset import Dataset
from src.training.checkpoint import Checkpoint
from src.training.meter import Meter, count_hits, means
from src.training.progress import Progress
from src.training.run import Run, Scores, TrainingParams, counted

LOOK_EVERY = 20  # steps between reads of the loss: each read waits for the device
SAVE_AFTER = 600  # seconds after the last checkpoint until one is written inside an epoch
VALIDATION_BATCH = 500  # images; results depend on it only by rounding


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
    """Train `network` on the device of `runtime`, from its current weights or from the state of an interrupted run.

    With several processes, each of them calls this. They train one network and get the same scores.

    Args:
        train, validation: on the device of `runtime`.
        checkpoint: read and written by the first process alone.
        log: called once per epoch, from 1, in order. After a resume it is called for the earlier epochs too. With
            `epochs` 0 it is called once, for epoch 0, with the scores of the untrained network.
        name: of the stage, for messages.

    Raises:
        InputError: the loss is not finite, or the memory of a GPU is too small for the batch.
        KeyboardInterrupt: the run was stopped. The message says what is kept.
    """
    run = Run(network, params, runtime)
    if state := processes.from_first(checkpoint.load() if processes.is_first() else None):
        run.load_state_dict(state)
        del state  # it is as large as network and optimizer together
    kept = run.position()
    for epoch, scores in enumerate(run.history, start=1):
        log(epoch, scores)
    if epochs == 0:
        log(0, run.scores(validate(network, train, runtime), validate(network, validation, runtime)))

    def save() -> None:
        nonlocal kept
        if processes.is_first() and checkpoint.save(run.state_dict()):
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


def train_epoch(run: Run, dataset: Dataset, epoch: int, progress: Progress, save: Callable[[], None]) -> None:
    """Train on every image once, or on the images that `run` has not seen yet in this epoch.

    Args:
        save: called when the last checkpoint is `SAVE_AFTER` seconds old.

    Raises:
        InputError: the loss is not finite. The message has the epoch, the step and the learning rate.
    """
    params, saved = run.params, time.monotonic()
    first = len(run.meter.losses)
    batches = shuffled(dataset, params.batch_size, params.augment, seed=params.seed, epoch=epoch, first=first)
    run.network.train()
    for step, (images, labels, batch_size) in enumerate(batches, start=first):
        # For dropout. The 1 separates its numbers from those of augmentation, the rank from those of other processes.
        torch.manual_seed(seed_of(params.seed, epoch, step, 1, processes.rank()))
        run.step(images, labels, batch_size)
        overdue = time.monotonic() - saved > SAVE_AFTER
        if step % LOOK_EVERY == 0 or overdue:
            progress.step(epoch, run.meter.images, newest_loss(run, epoch))
        if overdue:
            save()
            saved = time.monotonic()
    progress.step(epoch, run.meter.images, newest_loss(run, epoch))


def newest_loss(run: Run, epoch: int) -> float:
    """The newest loss, after a check of the losses since the last call.

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
    """Mean cross-entropy and accuracy over a data set, without dropout. Each process does its share of the batches."""
    network.eval()
    meter = Meter(runtime.device)
    for images, labels in in_order(dataset, VALIDATION_BATCH):
        with runtime.autocast():
            logits = network(images).float()
        meter.add(F.cross_entropy(logits, labels), count_hits(logits, labels), len(labels))
    return means(processes.total(meter.sums()))
