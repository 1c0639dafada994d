"""The pipeline from end to end, with the real DVC, both networks and real digits, in a project of its own."""

import csv
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.parameters import read_preset
from src.networks import model_file
from tests.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a space in its path, after `dvc repro` with tiny settings, committed."""
    project = Project(tmp_path_factory.mktemp("a project"))
    settings = [f"--set-param={line}" for line in read_preset(project.folder / "presets" / "tiny")]
    project.dvc("exp", "run", "--name", "tiny", *settings)
    project.commit("tiny")
    return project


def test_the_results_are_complete(project: Project) -> None:
    assert project.metrics("preprocess/metrics")["images"] == {"train": 72, "validation": 50, "test": 297}
    assert project.metrics("inspect_init/metrics")["vgg16"] == {"layers": 16, "layers_below_eps": 16}
    files = set(project.results())
    for network, epochs in (("vgg11", 2), ("vgg16", 1)):
        scores, last = project.metrics(f"evaluate/{network}"), project.metrics(f"train_{network}/metrics")
        assert set(scores) == {"accuracy", "loss", "top5", "val_accuracy"}
        assert (scores["val_accuracy"], epochs) == (last["validation"]["accuracy"], last["step"])
        for split in ("train", "validation"):
            for name in ("loss", "accuracy"):
                curve = project.results()[f"train_{network}/plots/metrics/{split}/{name}.tsv"].decode().splitlines()
                assert [line.split("\t")[0] for line in curve] == ["step", "1", "2"][: 1 + epochs]
        for file in ("confusion.csv", "confusion_matrix.png", "mistakes.png", "classification_report.json"):
            assert f"evaluate/{network}/{file}" in files
    assert {"evaluate/curves.png", "inspect_init/layers.png", "inspect_init/layers.csv"} <= files


def test_the_models_are_the_networks(project: Project) -> None:
    models = {name: model_file.load(project.folder / "models" / f"{name}.safetensors") for name in ("vgg11", "vgg16")}
    assert {name: model.network.letter for name, model in models.items()} == {"vgg11": "A", "vgg16": "D"}
    assert models["vgg16"].format.classes == tuple("0123456789")


def test_a_second_repro_does_nothing_quickly(project: Project) -> None:
    started = time.monotonic()
    assert "Data and pipelines are up to date." in project.dvc("repro")
    assert time.monotonic() - started < 60  # seconds when nothing is wrong; training again takes longer
    assert project.status() == ""


@pytest.mark.slow
def test_another_clone_comes_to_the_same_bytes(project: Project, tmp_path: Path) -> None:
    """Contract 1: `dvc repro --force`, in a clone elsewhere whose cache is empty, so that everything is computed again.

    dvc.lock has the digests of all outputs. That a stage repeats itself in one clone is part of test_torture.py.
    """
    clone = Project.clone(project, tmp_path / "clone")
    output = clone.dvc("repro", "--force")
    assert "train_vgg16 epoch 1/1" in output
    assert (clone.folder / "dvc.lock").read_bytes() == (project.folder / "dvc.lock").read_bytes()
    assert clone.results() == project.results()
    assert clone.status() == ""


def test_going_back_restores_instead_of_training_again(project: Project) -> None:
    """Contract 3: parameters A, then B, then A again."""
    results = project.results()
    project.set("transfer", "none")
    output = project.dvc("repro")
    assert "train_vgg16 epoch 1/1" in output
    assert "train_vgg11 epoch" not in output
    assert project.metrics("train_vgg16/metrics") != json.loads(results["train_vgg16/metrics.json"])
    diff = project.dvc("metrics", "diff")
    assert re.search("evaluate/vgg16.json +loss", diff)
    assert max(map(len, project.dvc("metrics", "show").splitlines())) <= 80  # it fits a terminal
    assert "train_vgg16.transfer" in project.dvc("params", "diff")
    project.dvc("plots", "diff", "--out", "dvc_plots")
    project.set("transfer", "paper")
    output = project.dvc("repro")
    assert "epoch" not in output
    assert project.results() == results
    assert "is cached - skipping run, checking out outputs" in output
    assert project.status() == ""


def test_an_experiment_leaves_the_workspace_alone(project: Project) -> None:
    for _ in range(2):  # the second takes the place of the first
        output = project.run(sys.executable, "-m", "scripts.experiment", "presets/tiny", "demo")
    assert project.status() == ""
    assert "epoch" not in output  # the same parameters: restored
    assert "| vgg16 |" in output
    assert "demo/" in output
    results = {name: content for name, content in project.results().items() if not name.startswith(".")}  # no locks
    folder = project.folder / "demo"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    models = {f"models/{name}.safetensors" for name in ("vgg11", "vgg16")}
    assert {name: (folder / name).read_bytes() for name in names - {".experiment.json"} - models} == results
    assert all((folder / name).read_bytes() == (project.folder / name).read_bytes() for name in models & names)
    assert models <= names  # for `make predict`
    assert "tiny" in project.dvc("exp", "show", "--csv")
    project.dvc("exp", "apply", "tiny")
    assert project.status() == ""


def test_an_experiment_in_a_shallow_clone_is_kept(project: Project, tmp_path: Path) -> None:
    """DVC alone, with --temp, would lose it without a word."""
    clone = tmp_path / "clone"
    project.run("git", "clone", "-q", "--depth", "1", project.folder.as_uri(), str(clone))
    (clone / ".dvc" / "cache").symlink_to(project.folder / ".dvc" / "cache")
    command = [sys.executable, "-m", "scripts.experiment", "presets/tiny", "demo"]
    subprocess.run(command, cwd=clone, env=project.environment, check=True, capture_output=True)
    assert json.loads((clone / "demo" / "evaluate" / "vgg16.json").read_text()) == project.metrics("evaluate/vgg16")
    output = subprocess.run(["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True).stdout
    assert output == b""


@pytest.mark.slow
def test_queued_experiments_run_what_they_were_queued_with_two_at_a_time(project: Project) -> None:
    """Contract 4: what happens to the workspace after queueing, here to a module and a parameter, does not matter."""
    project.dvc("exp", "run", "--queue", "--set-param=train_vgg16.transfer=none,all")
    module = project.folder / "src" / "evaluation" / "scores.py"
    code = module.read_text(encoding="utf-8")
    module.write_text("raise RuntimeError('the code of later')\n", encoding="utf-8")
    project.set("batch_size", "7")
    project.run_the_queue(2, jobs=2)
    module.write_text(code, encoding="utf-8")
    project.set("batch_size", "32")
    assert project.status() == ""
    losses = {}
    for row in csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv"))):
        assert row["batch_size"] == "32"
        losses[row["train_vgg16.transfer"]] = row["results/evaluate/vgg16.json:loss"]
    assert set(losses) == {"paper", "none", "all"}
    assert len(set(losses.values())) == 3


def test_a_clone_without_data_can_compare(project: Project, tmp_path: Path) -> None:
    """Contract 10: no network, no GPU, no DVC remote, no cache, a shallow history."""
    clone = tmp_path / "clone"
    project.run("git", "clone", "-q", "--depth", "2", project.folder.as_uri(), str(clone))
    environment = project.environment | {
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "c"),
    }

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        result = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=True)
        return result.stdout + result.stderr

    assert "evaluate" in dvc("metrics", "show")
    assert "batch_size" in dvc("params", "diff", "HEAD~1")
    assert re.search("evaluate/vgg16.json +accuracy", dvc("metrics", "diff", "HEAD~1", "--all"))
    assert "Data and pipelines are up to date." in dvc("repro", "--dry", "--allow-missing")


def test_wrong_parameters_end_in_one_line_before_any_work(project: Project) -> None:
    before = project.results()
    project.set("batch_size", "many")
    output = project.dvc("repro", fails=True)
    assert "error: params.yaml: batch_size: 'many': Input should be a valid integer" in output
    assert "Traceback" not in output
    project.set("batch_size", "32")
    project.dvc("repro")
    assert project.results() == before
    assert project.status() == ""
