"""The study's check of what the biases do."""

from itertools import islice

import pytest

from scripts import study_biases
from src.initialization import build
from tests.conftest import FORMAT, coloured_squares


def test_all_parameters_move_or_all_but_the_biases() -> None:
    network = build("D", FORMAT, seed=0, init="none", std=0.01, dropout=0.5)
    everything, weights = (study_biases.moved(network, biases=biases) for biases in (True, False))
    assert len(everything) == 32
    assert len(weights) == 16
    assert all(weight.ndim > 1 for weight in weights)


def test_both_ways_start_alike_and_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_biases, "BLOCK", 1)
    monkeypatch.setattr(study_biases, "BATCH", 8)
    monkeypatch.setattr(study_biases, "RATE", 0.1)
    train = coloured_squares(24)
    moving, still, again = (
        list(islice(study_biases.training_losses(train, 0, biases=biases), 3)) for biases in (True, False, False)
    )
    assert still == again
    assert still[0] == moving[0]
    assert still[2] != moving[2]


def test_the_table_has_a_column_a_curve() -> None:
    assert study_biases.table({"a": [2.3, 2.25], "b": [2.0, 1.0, 0.5]}).splitlines() == [
        "| steps | a | b |",
        "| ---: | ---: | ---: |",
        "| 1 to 25 | 2.3000 | 2.0000 |",
        "| 26 to 50 | 2.2500 | 1.0000 |",
    ]
