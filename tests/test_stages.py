"""What the stage scripts check themselves; tests/test_pipeline.py runs them under DVC."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from src import dataset, model_file
from src.errors import InputError
from src.initialization import build
from src.model_file import Model
from stages import train_vgg16
from tests.conftest import FORMAT, coloured_squares
from tests.test_params import DEFAULTS


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that stages read, of images of 32 pixels, and params.yaml for a CPU; the current folder."""
    monkeypatch.chdir(tmp_path)
    text = DEFAULTS.replace("  device: auto", "  device: cpu").replace("  epochs: 30", "  epochs: 0")
    Path("params.yaml").write_text(text, encoding="utf-8")
    for name in ("train", "validation"):
        dataset.save(Path(name), coloured_squares(20))
    model_file.save(Path("vgg11"), Model(build("A", FORMAT, seed=0, init="kaiming", std=0.01, dropout=0.5), FORMAT))
    paths = {"train": "train", "validation": "validation", "vgg11": "vgg11", "model": "vgg16", "results": "results"}
    monkeypatch.setattr(sys, "argv", ["train_vgg16", *(f"--{name}={path}" for name, path in paths.items())])
    return tmp_path


def test_vgg16_prints_what_it_takes_over(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_vgg16.main()
    assert "from the trained network: conv1_1 conv2_1 conv3_1 conv3_2 fc6 fc7 fc8; newly" in capsys.readouterr().out
    source, target = model_file.load(Path("vgg11")), model_file.load(Path("vgg16"))
    assert target.network.column == "D"
    assert target.network.get_parameter("fc7.weight").equal(source.network.get_parameter("fc7.weight"))
    assert not (workspace / ".checkpoints" / "train_vgg16").exists()


def test_vgg16_refuses_a_vgg11_of_other_images(workspace: Path) -> None:
    other = replace(FORMAT, resize=64, crop=64)
    model_file.save(Path("vgg11"), Model(build("A", other, seed=0, init="none", std=0.01, dropout=0.5), other))
    with pytest.raises(InputError, match=r"vgg11: made for other images than train: resize 64 and 32; run `dvc repro`"):
        train_vgg16.main()
    assert not (workspace / "vgg16").exists()
    assert not (workspace / "results").exists()
