"""The scores of each epoch on disk."""

from pathlib import Path

import pytest

from src.evaluation.history import read_history
from src.training.history import write_history


def test_only_the_rows_of_this_run_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever DVCLive's own variable says."""
    monkeypatch.setenv("DVCLIVE_RESUME", "true")
    names = [f"{split}/{score}" for split in ("train", "validation") for score in ("loss", "accuracy")]
    for value in (0.5, 0.25):
        with write_history(tmp_path / "results") as log:
            for epoch in (1, 2):
                log(epoch, dict.fromkeys(names, value))
    history = read_history(tmp_path / "results" / "plots" / "metrics")
    assert {name: history[name].tolist() for name in names} == {name: [[1, 0.25], [2, 0.25]] for name in names}
