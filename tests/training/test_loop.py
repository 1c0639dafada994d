"""Training: it learns, repeats itself, counts correctly, and ends when the loss is not finite."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from src.base.errors import InputError
from src.compute import runtime
from src.images.transforms import prepare
from src.training import loop, run
from src.training.loop import validate
from tests.conftest import PARAMS, coloured_squares
from tests.training.runs import CPU, SGD, Run, equal, small_network, with_


def test_it_learns(tmp_path: Path) -> None:
    log = Run(tmp_path, epochs=8)().log
    assert list(log) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert log[8]["validation/accuracy"] > 0.9
    assert log[8]["train/loss"] < 0.8 * log[1]["train/loss"]


def test_two_runs_are_equal(tmp_path: Path) -> None:
    assert equal(Run(tmp_path / "a")(), Run(tmp_path / "b")())


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    assert not equal(Run(tmp_path / "a")(), Run(tmp_path / "b", with_(seed=1))())


def test_no_epochs_scores_the_untrained_network(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=0)()
    assert list(run.log) == [0]
    assert all(map(torch.equal, run.weights(), small_network().state_dict().values()))
    assert run.log[0]["train/loss"] == pytest.approx(math.log(10), rel=0.2)


def test_validation_is_the_mean_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "inference_batch", lambda _crop: 7)
    network, data = small_network(), coloured_squares(30)
    loss, accuracy = validate(network, data, CPU)
    logits = network.eval()(prepare(data.images, data.format))
    assert loss == pytest.approx(F.cross_entropy(logits, data.labels).item(), rel=1e-6)
    assert accuracy == (logits.argmax(1) == data.labels).double().mean().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_each_precision_trains(dtype: torch.dtype) -> None:
    cpu = runtime.Runtime(torch.device("cpu"), dtype, compile=False)
    state, data = run.Run(small_network(), PARAMS, cpu), coloured_squares(64)
    before, _ = validate(state.network, data, cpu)
    for _ in range(10):
        state.step(prepare(data.images, data.format), data.labels, len(data))
    after, _ = validate(state.network, data, cpu)
    assert after < before
    assert math.isfinite(state.meter.result()[0])
    assert {weight.dtype for weight in state.network.parameters()} == {torch.float32}


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, with_(optimizer=SGD | {"lr": 1e30}))
    with pytest.raises(
        InputError, match=r"epoch 1, step 2: the loss is \w+ at learning rate 1e\+30; lower optimizer.lr"
    ):
        run()
    assert not run.checkpoint.path.exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_loss_of_an_untrained_network_must_be_finite(tmp_path: Path, split: str) -> None:
    run = Run(tmp_path, epochs=0)
    images = getattr(run, split)
    setattr(run, split, replace(images, format=replace(images.format, mean=(math.nan, 0.0, 0.0))))
    with pytest.raises(InputError, match=f"^epoch 0, {split}: the loss is nan"):
        run()
    assert run.log == {}


@pytest.mark.parametrize(
    "state", [[], {}, "text", torch.zeros(3), {"history": []}, {"history": [], "meter": {}}], ids=str
)
def test_a_state_of_another_kind_is_one_line(tmp_path: Path, state: object) -> None:
    run = Run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(stop_after=1)
    torch.save(state, run.checkpoint.path)
    with pytest.raises(
        InputError, match=r"state\.pt: not a (training state|state of this run).*; remove it to start again$"
    ):
        Run(tmp_path)()


@pytest.mark.parametrize(
    ("split", "done", "message"),
    [
        ("train", 3, "epoch 4, step 1: the loss is nan"),
        # The last step of an epoch can be the one that overflows, which only validation sees.
        ("validation", 2, "epoch 3, validation: the loss is nan at learning rate"),
    ],
)
def test_the_last_good_state_is_kept_when_the_loss_explodes(
    tmp_path: Path, split: str, done: int, message: str
) -> None:
    whole = Run(tmp_path / "whole")()
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "run")(stop_after=done)
    broken = Run(tmp_path / "run")
    images = getattr(broken, split)
    setattr(broken, split, replace(images, format=replace(images.format, mean=(math.nan, 0.0, 0.0))))
    with pytest.raises(InputError, match=message):
        broken()
    assert list(broken.log) == [1, 2, 3][:done]
    assert equal(Run(tmp_path / "run")(), whole)


def test_one_line_an_epoch_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path)()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("train epoch 2/4: loss ")
    for word in ("accuracy", "validation loss", "images/s", "left"):
        assert word in lines[1]
