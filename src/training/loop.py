"""The training loop of section 3.1: mini-batches, cross-entropy, and a learning rate that may follow validation."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from src.base.errors import InputError, out_of_memory
from src.compute import processes
from src.compute.runtime import Runtime
from src.compute.seeds import seed_of
from src.images.batches import in_order, shuffled
from src.images.dataset import Dataset
from src.networks.memory import inference_batch
from src.training.checkpoint import Checkpoint
from src.training.meter import Meter, count_hits, means
from src.training.progress import Progress
from src.training.run import Run, Scores, TrainingParams, counted
from src.training.stopping import StopRequest

LOOK_EVERY = 20  # steps between reads of the loss: each read waits for the device
SAVE_EVERY = 60.0  # at least so many seconds between two states
SAVE_SHARE = 0.05  # largest share of the time for writing states


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
) -> "States":
    """Train `network` on the device of `runtime`, from its current weights or from the state of an interrupted run.

    With several processes, each of them calls this. They train one network and get the same scores.

    Args:
        train, validation: on the device of `runtime`.
        checkpoint: read by every process, written by the first one alone.
        log: called once per epoch, from 1, in order. After a resume it is called for the earlier epochs too. With
            `epochs` 0 it is called once, for epoch 0, with the scores of the untrained network.
        name: of the stage, for messages.

    Returns:
        what writes the state of the run: the run is complete, its outputs are not written yet.

    Raises:
        InputError: the loss is not finite, or the state on disk is not one of this run.
        KeyboardInterrupt: Ctrl-C or SIGTERM. The run first ends its step and writes its state. The message says what
            is kept. A second signal stops at once.
    """
    run = Run(network, params, runtime)
    state = processes.read_alike(
        checkpoint.load,
        mark=lambda state: (checkpoint.folder.name, progress_of(state)),
        error=f"{checkpoint.folder}: the processes do not see the same training state there; machines that train "
        "together need the same code, parameters and data, and must share this folder",
    )
    if state is not None:
        try:
            run.load_state_dict(state)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            if line := out_of_memory(error):
                raise line from None
            raise InputError(f"{checkpoint.path}: not a state of this run; remove it to start again") from None
    del state  # it is as large as network and optimizer together
    for epoch, scores in enumerate(run.history, start=1):
        log(epoch, scores)
    states = States(run, checkpoint)
    progress = Progress(name, epochs=epochs, images=len(train), done=len(run.history))
    try:
        with StopRequest() as stop:

            def between_steps() -> None:
                if stop.requested or states.due():
                    check_losses(run)  # a state after a loss that is not finite is useless
                    states.save()
                if stop.requested:
                    stop.stop()

            def validated(dataset: Dataset) -> tuple[float, float]:
                return validate(network, dataset, runtime, between_steps)

            if epochs == 0:
                scores = run.scores(validated(train), validated(validation))
                for split in ("train", "validation"):
                    check_loss(run, f"epoch 0, {split}", scores[f"{split}/loss"])
                log(0, scores)
            for epoch in range(len(run.history) + 1, epochs + 1):
                done, started = run.meter.images, time.monotonic()
                train_epoch(run, train, progress, between_steps)
                rate = (len(train) - done) / (time.monotonic() - started)
                scores = run.scores(run.meter.result(), validated(validation))
                check_loss(run, f"epoch {epoch}, validation", scores["validation/loss"])
                run.end_epoch(scores)
                log(epoch, scores)
                progress.epoch(epoch, scores, rate)
                between_steps()
    except KeyboardInterrupt:
        if len(run.history) == epochs and states.kept != run.position():  # after the last look at requests to stop
            states.save()
        kept = f"{states.kept} (of {counted(epochs, 'epoch')})"
        raise KeyboardInterrupt(f"{name}: stopped; kept: {kept}; give the same command again to continue") from None
    finally:
        progress.close()
    return states


def progress_of(state: dict[str, Any] | None) -> object:
    """What tells the states of one run apart; None: there is no state, or it is none of a run."""
    try:
        return state and (state["history"], state["meter"]["losses"].tolist())
    except (AttributeError, KeyError, TypeError):
        return None


class States:
    """Writes the state of a run to its checkpoint, at most once in `SAVE_EVERY` seconds, and at each stop.

    A state of VGG16 at 224 pixels has 1.6 GB. Where writing it is slow, states are written less often.

    Attributes:
        kept: what the state on disk has, in words.
    """

    def __init__(self, run: Run, checkpoint: Checkpoint) -> None:
        self.run, self.checkpoint, self.kept = run, checkpoint, run.position()
        self._last, self._pause = time.monotonic(), SAVE_EVERY

    def due(self) -> bool:
        return processes.is_first() and time.monotonic() - self._last >= self._pause

    def save(self) -> None:
        started = time.monotonic()
        if processes.is_first() and self.checkpoint.save(self.run.state_dict()):
            self.kept = self.run.position()
        self._last = time.monotonic()
        self._pause = max(SAVE_EVERY, (self._last - started) / SAVE_SHARE)


def train_epoch(run: Run, dataset: Dataset, progress: Progress, between_steps: Callable[[], None]) -> None:
    """Train on every image once, or on the images that `run` has not seen yet in this epoch.

    Args:
        between_steps: called after each step. It may raise an exception to stop.

    Raises:
        InputError: the loss is not finite. The message has the epoch, the step and the learning rate.
    """
    params, epoch, first = run.params, run.epoch, len(run.meter.losses)
    batches = shuffled(dataset, params.batch_size, params.augment, seed=params.seed, epoch=epoch, first=first)
    run.network.train()
    for step, (images, labels, batch_size) in enumerate(batches, start=first):
        torch.manual_seed(seed_of("dropout", params.seed, epoch, step, processes.rank()))
        run.step(images, labels, batch_size)
        if step % LOOK_EVERY == 0 or step - first in (0, 2):  # early, to say how long the run takes
            progress.step(epoch, run.meter.images, check_losses(run))
        between_steps()
    progress.step(epoch, run.meter.images, check_losses(run))


def check_loss(run: Run, where: str, loss: float) -> None:
    """A loss that is not finite is an `InputError`."""
    if not math.isfinite(loss):
        raise run.overflow(where, loss)


def check_losses(run: Run) -> float:
    """The newest loss, after a check of the losses since the last call; nan before the first step of an epoch.

    Raises:
        InputError: one of them is not finite.
    """
    if not run.meter.losses:
        return math.nan
    losses = torch.stack(run.meter.losses[-LOOK_EVERY:]).cpu()
    finite = losses.isfinite()
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        step = len(run.meter.losses) - len(losses) + bad + 1
        raise run.overflow(f"epoch {run.epoch}, step {step}", float(losses[bad]))
    return float(losses[-1])


@torch.no_grad()
def validate(
    network: nn.Module, dataset: Dataset, runtime: Runtime, between_batches: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a data set, without dropout. Each process does its share of the batches."""
    network.eval()
    meter = Meter(runtime.device)
    for images, labels in in_order(dataset, inference_batch(dataset.format.crop)):
        with runtime.autocast():
            logits = network(images).float()
        meter.add(F.cross_entropy(logits, labels), count_hits(logits, labels), len(labels))
        between_batches()
    return means(processes.total(meter.sums()))
