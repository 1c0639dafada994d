"""The study's check of what the biases do."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from src.base.errors import InputError
from src.images import dataset
from src.networks.initialization import build
from study import biases as study_biases
from tests.conftest import coloured_squares


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_biases, "BLOCK", 1)
    monkeypatch.setattr(study_biases, "BATCH", 8)


@pytest.mark.parametrize("biases", [True, False])
def test_all_parameters_move_or_all_but_the_biases(monkeypatch: pytest.MonkeyPatch, biases: bool) -> None:
    networks: list[nn.Module] = []

    def keep(*arguments: object, **settings: object) -> nn.Module:
        networks.append(build(*arguments, **settings))  # type: ignore[arg-type]
        return networks[-1]

    monkeypatch.setattr(study_biases, "build", keep)
    next(study_biases.training_losses(coloured_squares(8), 0, biases=biases))
    start = build("D", coloured_squares(8).format, seed=0, init="normal", init_std=0.01, dropout=0.5)
    pairs = zip(networks[0].named_parameters(), start.parameters(), strict=True)
    moved = {name for (name, after), before in pairs if not torch.equal(after, before)}
    expected = {name for name, _ in start.named_parameters() if biases or name.endswith("weight")}
    assert len(expected) == (32 if biases else 16)
    assert moved == expected


def test_both_ways_start_alike_and_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_biases, "RATE", 0.1)
    train = coloured_squares(16)
    moving, still, again = (
        list(islice(study_biases.training_losses(train, 0, biases=biases), 2)) for biases in (True, False, False)
    )
    assert still == again
    assert still[0] == moving[0]
    assert still[1] != moving[1]


def test_the_table_has_one_column_per_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "docs" / "study.md"
    page.parent.mkdir()
    page.write_text("<!-- biases -->\n<!-- /biases -->\n", encoding="utf-8")
    monkeypatch.setattr(dataset, "load", lambda _path: coloured_squares(1199))
    monkeypatch.setattr(study_biases, "BLOCK", 25)
    with pytest.raises(InputError, match=r"^data/processed: 1,199 training images, expected at least 1,200"):
        study_biases.main()
    monkeypatch.setattr(dataset, "load", lambda _path: coloured_squares(1200))
    losses = [2.3, 2.25, 2.0, 1.0, 0.5, 0.25, 0.125]
    monkeypatch.setattr(
        study_biases, "training_losses", lambda _train, seed, biases: iter([*losses[:6], seed + biases])
    )
    study_biases.main()
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[2] == "| steps | seed 1, all move | seed 1, biases stay 0 | seed 2, all move | seed 2, biases stay 0 |"
    assert lines[4] == "| 1 to 25 | 2.3000 | 2.3000 | 2.3000 | 2.3000 |"
    assert lines[9] == "| 126 to 150 | 0.2500 | 0.2500 | 0.2500 | 0.2500 |"
    assert capsys.readouterr().out.count("\n") == 24
