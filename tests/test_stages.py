"""What the stage scripts check themselves; tests/test_pipeline.py runs them under DVC."""

import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from dvc.utils.hydra import apply_overrides

from src.base.errors import InputError
from src.images import dataset
from src.networks import model_file
from src.networks.initialization import build
from src.networks.model_file import Model
from stages import inspect_transfer, train_vgg11, train_vgg16
from tests.conftest import FORMAT, coloured_squares
from tests.defaults import DEFAULTS


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that stages read, of images of 32 pixels, and params.yaml for a CPU; the current folder."""
    monkeypatch.chdir(tmp_path)
    text = DEFAULTS.replace("  device: auto", "  device: cpu").replace("  epochs: 6", "  epochs: 0")
    Path("params.yaml").write_text(text, encoding="utf-8")
    for name in ("train", "validation"):
        dataset.save(Path(name), coloured_squares(20))
    model_file.save(
        Path("vgg11"), Model(build("A", FORMAT, seed=0, init="kaiming", init_std=0.01, dropout=0.5), FORMAT)
    )
    paths = {"train": "train", "validation": "validation", "vgg11": "vgg11", "model": "vgg16", "results": "results"}
    monkeypatch.setattr(sys, "argv", ["train_vgg16", *(f"--{name}={path}" for name, path in paths.items())])
    return tmp_path


def test_vgg16_prints_what_it_takes_over(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_vgg16.main()
    assert "from the trained network: conv1_1 conv2_1 conv3_1 conv3_2 fc6 fc7 fc8; newly" in capsys.readouterr().out
    source, target = model_file.load(Path("vgg11")), model_file.load(Path("vgg16"))
    assert target.network.letter == "D"
    assert target.network.get_parameter("fc7.weight").equal(source.network.get_parameter("fc7.weight"))
    assert not (workspace / ".checkpoints" / "train_vgg16").exists()


def test_vgg11_starts_from_a_file_of_the_main_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path is that of the user, also where DVC runs the stage in a temporary copy of the project."""
    (main := workspace / "main").mkdir()
    Path("vgg11").rename(main / "mine.safetensors")
    digest = sha256((main / "mine.safetensors").read_bytes()).hexdigest()
    settings = ["train_vgg11.epochs=0", "train_vgg11.start=mine.safetensors", f"train_vgg11.start_sha256={digest}"]
    apply_overrides("params.yaml", settings)
    arguments = ["--train=train", "--validation=validation", "--model=model", "--results=results"]
    monkeypatch.setattr(sys, "argv", ["train_vgg11", *arguments])
    monkeypatch.setenv("DVC_ROOT", str(main))
    train_vgg11.main()
    assert "from the trained network: conv1_1 conv2_1" in capsys.readouterr().out
    start, trained = (model_file.load(path).network for path in (main / "mine.safetensors", Path("model")))
    assert all(map(torch.equal, start.state_dict().values(), trained.state_dict().values()))


def test_inspect_transfer_sees_what_is_taken_over(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--train=train", "--vgg11=vgg11", "--results=results"]
    monkeypatch.setattr(sys, "argv", ["inspect_transfer", *arguments])
    inspect_transfer.main()
    written = sorted(path.name for path in (workspace / "results").iterdir())
    assert written == ["layers.csv", "layers.png", "metrics.json"]
    lines = [line.split(",") for line in Path("results/layers.csv").read_text(encoding="utf-8").splitlines()]
    assert lines[0] == ["network", "layer", "activation_std", "gradient_rms", "weight_rms", "image_share"]
    weights = {(network, layer): float(rms) for network, layer, _, _, rms, _ in lines[1:]}
    assert len(weights) == 32
    vgg11 = model_file.load(Path("vgg11")).network
    for layer in ("conv1_1", "conv3_2", "fc8"):
        expected = vgg11.get_parameter(f"{layer}.weight").square().mean().sqrt().item()
        assert weights["after_transfer", layer] == pytest.approx(expected, rel=1e-4)
        assert weights["before_transfer", layer] == pytest.approx(0.01, rel=0.1)
    assert weights["after_transfer", "conv1_2"] == weights["before_transfer", "conv1_2"]


def test_inspect_transfer_refuses_a_vgg11_of_other_images(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(FORMAT, pixel_scale=255)
    model_file.save(Path("vgg11"), Model(build("A", other, seed=0, init="none", init_std=0.01, dropout=0.5), other))
    monkeypatch.setattr(sys, "argv", ["inspect_transfer", "--train=train", "--vgg11=vgg11", "--results=results"])
    with pytest.raises(InputError, match="vgg11: made for other images than train: pixel_scale 255 and 1"):
        inspect_transfer.main()
    assert not (workspace / "results").exists()


def test_vgg16_refuses_a_vgg11_of_other_images(workspace: Path) -> None:
    other = replace(FORMAT, resize=64, crop=64)
    model_file.save(Path("vgg11"), Model(build("A", other, seed=0, init="none", init_std=0.01, dropout=0.5), other))
    with pytest.raises(InputError, match=r"vgg11: made for other images than train: resize 64 and 32; run `dvc repro`"):
        train_vgg16.main()
    assert not (workspace / "vgg16").exists()
    assert not (workspace / "results").exists()
