"""Training: it learns, repeats itself, survives stops, counts right, and stops at nonsense."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.base.errors import InputError
from src.compute import runtime
from src.images.transforms import prepare
from src.training import loop, run
from src.training.checkpoint import Checkpoint
from src.training.loop import fit, validate
from src.training.run import Scores, TrainingParams, counted
from tests.conftest import PARAMS, coloured_squares

CPU = runtime.Runtime(torch.device("cpu"), torch.float32, compile=False)


def small_network() -> nn.Module:
    """With dropout, whose random numbers a resumed run must meet again."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8 * 8 * 8, 10),
    )


class Run:
    """One call of `fit` on a small network, and what came of it."""

    def __init__(self, folder: Path, params: TrainingParams = PARAMS, epochs: int = 4) -> None:
        self.network, self.log = small_network(), dict[int, Scores]()
        self.params, self.epochs, self.folder = params, epochs, folder
        self.train, self.validation = coloured_squares(100), coloured_squares(30, seed=1)

    def __call__(self, stop_after: int | None = None, after: Callable[[int], object] = lambda epoch: None) -> "Run":
        """Train; `after` is called with each epoch that was done."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DVC_ROOT", str(self.folder))
            self.checkpoint = Checkpoint("train", (self.params.model_dump_json(),), ())

        def log(epoch: int, scores: Scores) -> None:
            assert epoch not in self.log
            self.log[epoch] = scores
            after(epoch)
            if epoch == stop_after:
                raise KeyboardInterrupt

        fit(
            self.network,
            self.train,
            self.validation,
            epochs=self.epochs,
            params=self.params,
            runtime=CPU,
            checkpoint=self.checkpoint,
            log=log,
            name="train",
        )
        return self

    def weights(self) -> list[Tensor]:
        return list(self.network.state_dict().values())


def equal(one: Run, other: Run) -> bool:
    return one.log == other.log and all(map(torch.equal, one.weights(), other.weights()))


def with_(**values: object) -> TrainingParams:
    return TrainingParams.model_validate(PARAMS.model_dump() | values)


SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "eps": 1e-8}
PLATEAU = {"name": "plateau", "patience": 0}


def test_it_learns(tmp_path: Path) -> None:
    log = Run(tmp_path, epochs=8)().log
    assert list(log) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert log[8]["validation/accuracy"] > 0.9
    assert log[8]["train/loss"] < 0.8 * log[1]["train/loss"]


def test_two_runs_are_equal(tmp_path: Path) -> None:
    assert equal(Run(tmp_path / "a")(), Run(tmp_path / "b")())


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    assert not equal(Run(tmp_path / "a")(), Run(tmp_path / "b", with_(seed=1))())


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
def test_a_run_that_is_stopped_inside_an_epoch_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Seven steps are an epoch; here every step counts as long enough for a checkpoint."""
    whole = Run(tmp_path / "whole")()
    monkeypatch.setattr(loop, "SAVE_AFTER", -1)
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


def test_a_stop_during_the_writing_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Run(tmp_path / "whole")()
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


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """A second run of the same stage goes all its way while the first is between its second and third epoch."""
    whole = Run(tmp_path / "whole")()
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


def test_no_epochs_scores_the_untrained_network(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=0)()
    assert list(run.log) == [0]
    assert all(map(torch.equal, run.weights(), small_network().state_dict().values()))
    assert run.log[0]["train/loss"] == pytest.approx(math.log(10), rel=0.2)


def test_validation_is_the_mean_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.training.loop.VALIDATION_BATCH", 7)
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


def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore lines")

    monkeypatch.setattr(run.Run, "step", step)
    with pytest.raises(
        InputError, match=r"^train: CUDA out of memory\. Tried to allocate 2 GiB\.; lower batch_size, or"
    ) as error:
        Run(tmp_path)()
    assert "\n" not in str(error.value)


def test_one_line_an_epoch_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path)()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("train epoch 2/4: loss ")
    for word in ("accuracy", "validation loss", "images/s", "left"):
        assert word in lines[1]
