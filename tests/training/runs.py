"""Runs of a small network, for the tests of training."""

import math
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.compute import runtime
from src.training import loop
from src.training.checkpoint import Checkpoint
from src.training.loop import fit
from src.training.run import Scores, TrainingParams
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
            self.checkpoint = Checkpoint("train", self.params.model_dump(), ())

        def log(epoch: int, scores: Scores) -> None:
            assert epoch not in self.log
            self.log[epoch] = scores
            after(epoch)
            if epoch == stop_after:
                signal.raise_signal(signal.SIGINT)

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


def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every step."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", math.inf)
