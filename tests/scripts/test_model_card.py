"""The model card: as the script writes it from the results of this commit."""

import json
import shutil
from pathlib import Path

import pytest

from scripts import model_card
from src.base.errors import InputError
from tests.defaults import DEFAULTS


def test_the_card_is_that_of_the_recorded_results() -> None:
    assert model_card.PAGE.read_text(encoding="utf-8") == model_card.card()


def test_the_numbers_are_those_of_the_results() -> None:
    text = model_card.card()
    for name in ("vgg11", "vgg16", "fusion"):
        values = json.loads(Path(f"results/evaluate/{name}.json").read_bytes())
        assert f"| {values['accuracy']:.4f} | {values['top5']:.4f} | {values['loss']:.4f} |" in text
    assert "45,000 images for training, 5,000 for validation, 10,000 for testing" in text


def test_other_settings_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree("results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    changes = {"network: D": "network: E", "init: normal": "init: kaiming", "transfer: paper": "transfer: none"}
    changes |= {"lr: 0.0001": "lr: 1e-05"}  # as DVC writes it; a text in YAML 1.1
    changes |= {"name: adam": "name: sgd", "flip: false": "flip: true", "colour_shift: false": "colour_shift: true"}
    text = DEFAULTS
    for old, new in changes.items():
        text = text.replace(old, new, 1)
    Path("params.yaml").write_text(text, encoding="utf-8")
    card = model_card.card()
    assert "| VGG19 | E of table 1 | from He et al.'s initialisation | `models/vgg16.safetensors` |" in card
    assert "\nSGD with momentum 0, learning rate 1e-05 (constant), weight decay 0, batches of 256" in card
    assert "augmentation: flip, colour shift." in card


def test_without_results_there_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(DEFAULTS, encoding="utf-8")
    with pytest.raises(InputError, match=r"^dvc\.lock: not found; run `dvc repro`$"):
        model_card.main()


def test_damaged_results_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree("results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(DEFAULTS, encoding="utf-8")
    Path("dvc.lock").write_text("stages: {evaluate: {}}", encoding="utf-8")
    Path("results/evaluate/vgg16.json").write_text("<<<<<<< HEAD", encoding="utf-8")
    with pytest.raises(InputError, match=r"^results of another version, or damaged \("):
        model_card.main()
    assert not model_card.PAGE.exists()


def test_a_card_of_other_parameters_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree("results", tmp_path / "results")
    shutil.copy("dvc.lock", tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("params.yaml").write_text(DEFAULTS.replace("seed: 0", "seed: 7"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"^dvc\.lock has no results of `evaluate` with these parameters; run `dvc repro`"
    ):
        model_card.main()
