"""Each preset from the first stage to the last, in this process, with its own settings on a few digits."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from scripts.parameters import read_preset
from src.base.errors import InputError
from src.download import records
from src.networks import model_file
from tests.defaults import DEFAULTS
from tests.project import ROOT

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
TOGETHER = "lrn vgg19"
"""Two presets at once, for `make test`. `make test-all` runs each one alone; those with 224 pixels take a minute."""
NETWORKS = {
    "vgg13": ("A", "B"),
    "vgg16-1x1": ("A", "C"),
    "vgg19": ("A", "E"),
    "lrn": ("A-LRN", "D"),
    TOGETHER: ("A-LRN", "E"),
}
PRESETS = [pytest.param(path.name, marks=pytest.mark.slow) for path in sorted((ROOT / "presets").iterdir())]
FEW = ["dataset.name=digits", "preprocess.validation=10", "preprocess.fraction=0.1", "batch_size=2"]
FEW += ["train_vgg11.epochs=1", "train_vgg16.epochs=1"]


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project with the records of digits, of which the stages see 50 for training and 2 for testing."""
    monkeypatch.chdir(tmp_path)
    read = records.read

    def read_few(*arguments: Any) -> records.Records:
        every = read(*arguments)
        train, test = slice(0, 50), slice(0, 2)
        return every._replace(
            train_images=every.train_images[train],
            train_labels=every.train_labels[train],
            test_images=every.test_images[test],
            test_labels=every.test_labels[test],
        )

    monkeypatch.setattr(records, "read", read_few)


def run(monkeypatch: pytest.MonkeyPatch, *settings: str) -> None:
    """Run all stages with the commands of dvc.yaml and `key=value` settings."""
    Path("params.yaml").write_text(DEFAULTS, encoding="utf-8")
    apply_overrides("params.yaml", list(settings))
    paths = PIPELINE["vars"][0]["path"]
    for stage, description in PIPELINE["stages"].items():
        command = re.sub(r"\$\{path\.(\w+)\}", lambda match: paths[match[1]], description["cmd"])
        monkeypatch.setattr(sys, "argv", [stage, *command.split()[3:]])
        import_module(f"stages.{stage}").main()


@pytest.mark.parametrize("presets", [TOGETHER, *PRESETS])
def test_every_preset_runs_from_end_to_end(presets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, *(line for name in presets.split() for line in read_preset(ROOT / "presets" / name)), *FEW)
    for name in ("vgg11", "vgg16", "fusion"):
        assert json.loads(Path(f"results/evaluate/{name}.json").read_bytes())["loss"] > 0
    models = [model_file.load(Path("models", f"{name}.safetensors")) for name in ("vgg11", "vgg16")]
    assert tuple(model.network.letter for model in models) == NETWORKS.get(presets, ("A", "D"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["evaluate.test=dense", "evaluate.scales=[64,32]", "image.resize=64", "image.crop=64"],
            "evaluate.scales: 32: ",
        ),
        (["image.resize=[32,64]", "image.crop=64"], "image.crop: 64: expected at most resize, which is 32"),
        (["train_vgg11.network=B", "train_vgg16.network=A"], "train_vgg16.transfer: paper: conv1_2 of network B: "),
        (["train_vgg16.network=F"], "train_vgg16.network: 'F': Input should be 'A', 'A-LRN', 'B', 'C', 'D' or 'E'"),
        (["evaluate.test=sparse"], "evaluate.test: 'sparse': Input should be 'centre', 'dense', 'crops' or "),
        (["image.resize=[48,32]"], r"image.resize: [48, 32]: expected a whole number from 32 to 1024, or a range"),
    ],
)
def test_settings_that_do_not_fit_end_the_pipeline_before_training(
    settings: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as error:
        run(monkeypatch, *FEW, *settings)
    assert str(error.value).startswith(f"params.yaml: {message}")
    assert "\n" not in str(error.value)
    assert not Path("models").exists()
