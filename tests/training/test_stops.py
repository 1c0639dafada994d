"""A run that is stopped, in whatever way and at whatever moment, goes on to the same weights."""

import argparse
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from dvclive.live import Live
from torch import Tensor

from src.images import dataset
from src.networks import model_file
from src.training import loop, run, stage
from src.training.checkpoint import Checkpoint
from src.training.meter import count_hits
from src.training.run import TrainingParams, counted
from src.training.stopping import StopRequest
from tests.conftest import PARAMS, coloured_squares
from tests.training.runs import CPU, PLATEAU, SGD, Run, equal, save_always, small_network, with_


@pytest.mark.parametrize("params", [PARAMS, with_(optimizer=SGD, schedule=PLATEAU)], ids=["adam", "sgd-plateau"])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, params: TrainingParams) -> None:
    whole = Run(tmp_path / "whole", params)()
    stopped = Run(tmp_path / "stopped", params)
    with pytest.raises(KeyboardInterrupt, match=r"kept: 2 epochs \(of 4 epochs\)"):
        stopped(stop_after=2)
    torch.manual_seed(123)  # a new process has another state of the global generator
    resumed = Run(tmp_path / "stopped", params)
    torch.nn.init.zeros_(
        resumed.network.get_parameter("5.weight")
    )  # and weights of its own, until it has read the state
    assert equal(resumed(), whole)


@pytest.mark.parametrize("stop", [1, 6, 7, 8, 13])
def test_a_run_that_is_killed_inside_an_epoch_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """An epoch has seven steps; here a state is written after every step."""
    whole = Run(tmp_path / "whole")()
    save_always(monkeypatch)
    step, steps = run.Run.step, 0

    def stopping_step(state: run.Run, images: Tensor, labels: Tensor, batch_size: int) -> None:
        nonlocal steps
        if steps == stop:
            raise KeyboardInterrupt
        steps += 1
        step(state, images, labels, batch_size)

    monkeypatch.setattr(run.Run, "step", stopping_step)
    epochs, rest = divmod(stop, 7)
    kept = f"kept: {counted(epochs, 'epoch')}" + (f" and {counted(rest, 'step')}" if rest else "")
    with pytest.raises(KeyboardInterrupt, match=rf"{kept} \(of 4 epochs\)"):
        Run(tmp_path / "stopped")()
    steps, stop = 0, 1000
    assert equal(Run(tmp_path / "stopped")(), whole)
    assert steps == 4 * 7 - (7 * epochs + rest)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stop", [1, 7, 10, 27, 28])
def test_a_signal_stops_after_the_step_and_keeps_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, number: signal.Signals
) -> None:
    """Nothing was written before: the state of the stop is the only one."""
    whole = Run(tmp_path / "whole")()
    step, steps = run.Run.step, 0

    def interrupted_step(state: run.Run, images: Tensor, labels: Tensor, batch_size: int) -> None:
        nonlocal steps
        steps += 1
        if steps == stop:
            signal.raise_signal(number)
        step(state, images, labels, batch_size)

    before = signal.signal(number, signal.default_int_handler)
    monkeypatch.setattr(run.Run, "step", interrupted_step)
    epochs, rest = divmod(stop - 1, 7)
    kept = (f"{counted(epochs, 'epoch')} and " if epochs or rest < 7 else "") + counted(rest + 1, "step")
    with pytest.raises(KeyboardInterrupt, match=rf"kept: {kept} \(of 4 epochs\)"):
        Run(tmp_path / "stopped")()
    assert signal.getsignal(number) is signal.default_int_handler
    assert equal(Run(tmp_path / "stopped")(), whole)
    assert steps == 4 * 7
    signal.signal(number, before)


def test_a_signal_after_the_last_step_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the last moment in which a signal is a request to stop."""
    whole = Run(tmp_path / "whole")()
    leave = StopRequest.__exit__

    def signal_and_leave(stop: StopRequest, *arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        leave(stop, *arguments)

    monkeypatch.setattr(StopRequest, "__exit__", signal_and_leave)
    with pytest.raises(KeyboardInterrupt, match=r"kept: 4 epochs \(of 4 epochs\)"):
        Run(tmp_path / "stopped")()
    monkeypatch.undo()
    monkeypatch.setattr(run.Run, "step", None)  # none is left
    assert equal(Run(tmp_path / "stopped")(), whole)


@pytest.mark.parametrize("place", [(Live, "end"), (model_file, "save")], ids=["history", "model"])
def test_a_stop_while_the_outputs_are_written_keeps_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("train", "validation", "model", "results")
    paths = argparse.Namespace(**{name: tmp_path / f"{name}.safetensors" for name in names})
    for seed, path in enumerate((paths.train, paths.validation)):
        dataset.save(path, coloured_squares(10, seed=seed))

    def train() -> None:
        stage.train_stage("train", paths, PARAMS, epochs=1, start=lambda format_: PARAMS.build("A", format_))

    with monkeypatch.context() as patch:
        patch.setattr(*place, lambda *_arguments: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match=r"^train: stopped; kept: 1 epoch; give the same command"):
            train()
    assert not paths.model.exists()
    monkeypatch.setattr(run.Run, "step", None)  # none is left
    train()
    assert paths.model.exists()
    assert not list((tmp_path / ".checkpoints").rglob("state.pt"))


def test_a_stop_in_validation_is_soon_and_keeps_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Run(tmp_path / "whole")()
    monkeypatch.setattr(loop, "inference_batch", lambda _crop: 1)
    seen = 0

    def hits(logits: Tensor, labels: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == 3:
            signal.raise_signal(signal.SIGINT)
        return count_hits(logits, labels)

    monkeypatch.setattr(loop, "count_hits", hits)
    with pytest.raises(KeyboardInterrupt, match=r"kept: 0 epochs and 7 steps \(of 4 epochs\)"):
        Run(tmp_path / "stopped")()
    assert seen == 3
    monkeypatch.undo()
    assert equal(Run(tmp_path / "stopped")(), whole)


def test_a_signal_that_is_passed_on_is_no_second_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At Ctrl-C in a terminal, a process of torchrun receives SIGINT, and SIGTERM from torchrun a moment later."""
    step = run.Run.step

    def interrupted_step(*arguments: Any) -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        step(*arguments)

    monkeypatch.setattr(run.Run, "step", interrupted_step)
    with pytest.raises(KeyboardInterrupt, match="kept: 0 epochs and 1 step "):
        Run(tmp_path)()


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.training.stopping.SAME_STOP", -1.0)

    def step(*_arguments: object) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(run.Run, "step", step)
    with pytest.raises(KeyboardInterrupt, match="kept: 0 epochs"):
        Run(tmp_path)()


def test_states_are_written_about_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 10 s; writing takes 1 s, then 30 s, which is 5 % of ten minutes."""
    clock, writes = 0.0, list[float]()

    class SlowCheckpoint(Checkpoint):
        def save(self, state: dict[str, Any]) -> bool:
            nonlocal clock
            writes.append(clock)
            clock += 1.0 if len(writes) < 3 else 30.0
            return True

    monkeypatch.setattr(time, "monotonic", lambda: clock)
    states = loop.States(run.Run(small_network(), PARAMS, CPU), SlowCheckpoint("train", {}, ()))
    while clock < 1200:
        clock += 10.0
        if states.due():
            states.save()
    assert writes == [60.0, 121.0, 182.0, 812.0]


def test_a_stop_during_the_writing_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Run(tmp_path / "whole")()
    save_always(monkeypatch)
    save, calls = torch.save, 0

    def failing_save(state: object, path: Path) -> None:
        nonlocal calls
        calls += 1
        save(state, path)
        if calls == 3:
            path.write_bytes(path.read_bytes()[:1000])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", failing_save)
    with pytest.raises(OSError, match="No space left"):
        Run(tmp_path / "stopped")()
    assert [path.name for path in (tmp_path / "stopped").rglob("*.*t*") if path.is_file()] == ["state.pt"]
    monkeypatch.setattr(torch, "save", save)
    assert equal(Run(tmp_path / "stopped")(), whole)


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run of the same stage runs from its start to its end between the second and third epoch of the first."""
    whole = Run(tmp_path / "whole")()
    save_always(monkeypatch)
    first, second = Run(tmp_path / "runs"), Run(tmp_path / "runs")

    def run_second(epoch: int) -> None:
        if epoch == 2:
            second()
            second.checkpoint.remove()

    assert equal(first(after=run_second), whole)
    assert equal(second, whole)
    assert first.checkpoint.path.exists()
    first.checkpoint.remove()
    assert not first.checkpoint.folder.exists()
