"""A repository with experiments as DVC keeps them, without DVC."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from scripts.parameters import parameters, plain
from src.evaluation.history import TABLES
from study.grid import Run
from tests.defaults import DEFAULTS

VALUES = parameters(DEFAULTS.encode())
LAYERS = "network,layer,activation_std,gradient_rms,weight_rms,image_share\n"
LOCK: dict[str, dict[str, list[dict[str, str]]]] = {
    "inspect_init": {},
    "inspect_transfer": {},
    "train_vgg16": {"outs": [{"path": "models/vgg16.safetensors", "md5": "1"}]},
    "evaluate": {"deps": [{"path": "models/vgg16.safetensors", "md5": "1"}]},
}
"""What dvc.lock says of the stages of a whole experiment."""
SECONDS = count(1_000_000_000)
"""Dates of commits: each is a second later than the one before."""


def make_run(name: str, changes: Mapping[str, str] | None = None) -> Run:
    """A run whose name is <scale>-<cell>-<seed>, with the scale `tiny`."""
    cell, _, seed = name.removeprefix("tiny-").rpartition("-")
    settings = {"init": "normal", "train_vgg16.transfer": "none", "seed": seed, **(changes or {})}
    return Run(name, "tiny", cell, 1, settings, VALUES | {key: plain(value) for key, value in settings.items()})


RUN = make_run("tiny-normal-none-0")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a repository with params.yaml and a page the current folder; its only commit."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    write(
        {
            ".dvc/config": "",
            "params.yaml": DEFAULTS,
            "docs/study/cells.md": "By hand.\n\n<!-- cells -->\n<!-- /cells -->\n",
        }
    )
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "code")
    return git("rev-parse", "HEAD")


def git(*arguments: str, stdin: str = "") -> str:
    return subprocess.run(["git", *arguments], input=stdin, check=True, capture_output=True, text=True).stdout.strip()


def write(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")


def with_settings(settings: Mapping[str, str]) -> str:
    """params.yaml as `dvc exp run -S` changes it."""
    with tempfile.NamedTemporaryFile("w+", suffix=".yaml", encoding="utf-8") as file:
        file.write(DEFAULTS)
        file.flush()
        apply_overrides(file.name, [f"{key}={value}" for key, value in settings.items()])
        return Path(file.name).read_text(encoding="utf-8")


def results() -> dict[str, str]:
    """What an experiment has beside params.yaml: VGG11 learned, VGG16 did not."""
    layers = "{0},conv1_1,0.1,1e-12,0.01,0.9\n{0},fc8,1e-9,1e-12,0.01,0.3\n"
    below = {"vgg11": 1, "vgg16": 2, "before_transfer": 2, "after_transfer": 2}
    counts = {name: {"layers": 2, "layers_below_eps": number} for name, number in below.items()}
    files = {
        "inspect_init/layers.csv": LAYERS
        + "vgg11,conv1_1,0.1,1e-7,0.01,0.9\nvgg11,fc8,1e-3,1e-9,0.01,0.3\n"
        + layers.format("vgg16"),
        "inspect_init/metrics.json": json.dumps({name: counts[name] for name in ("vgg11", "vgg16")}),
        "inspect_transfer/layers.csv": LAYERS + layers.format("before_transfer") + layers.format("after_transfer"),
        "inspect_transfer/metrics.json": json.dumps({name: counts[name] for name in below if "transfer" in name}),
        "preprocess/metrics.json": json.dumps({"images": {"train": 45000}}),
        "evaluate/vgg11.json": json.dumps({"accuracy": 0.41, "loss": 1.6}),
        "evaluate/vgg16.json": json.dumps({"accuracy": 0.1, "loss": 2.3}),
        "evaluate/fusion.json": json.dumps({"accuracy": 0.42, "loss": 1.7}),
    }
    for network, accuracy in (("vgg11", (0.4, 0.375)), ("vgg16", (0.1, 0.1))):
        table = "step\tvalue\n1\t{}\n2\t{}\n".format(*accuracy)
        files |= {f"train_{network}/plots/metrics/{score}.tsv": table for score in TABLES}
    return {f"results/{path}": text for path, text in files.items()} | {"dvc.lock": yaml.safe_dump({"stages": LOCK})}


def keep_experiment(name: str, files: Mapping[str, str]) -> str:
    """Commit files on top of HEAD as the experiment `name`. Index and workspace stay as they are; its commit."""
    head = git("rev-parse", "HEAD")
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    lines = [f"commit {reference}", f"committer a <a@b> {next(SECONDS)} +0000", "data 0", f"from {head}"]
    for path, text in files.items():
        lines += [f"M 100644 inline {path}", f"data {len(text.encode())}", text]
    git("fast-import", "--quiet", "--force", stdin="\n".join([*lines, ""]))
    return git("rev-parse", reference)


def experiment(run: Run) -> str:
    """Keep an experiment that has run to its end with the settings of a run; its commit."""
    return keep_experiment(run.name, results() | {"params.yaml": with_settings(run.settings)})
