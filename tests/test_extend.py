"""The recipes of docs/extend.md: each patch is applied to a copy of the project, and the pipeline runs with it."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from scripts.parameters import read_preset
from src.networks import model_file
from tests.project import ROOT, Project

PATCHES = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(encoding="utf-8"), re.DOTALL)


def patched(folder: Path, patch: str) -> Project:
    project = Project(folder)
    (folder / "recipe.patch").write_text(patch, encoding="utf-8")
    project.run("git", "apply", "recipe.patch")
    (folder / "recipe.patch").unlink()
    return project


def repro(project: Project, *settings: str) -> str:
    """Run the pipeline with the settings of presets/tiny and some more."""
    values = [f"--set-param={line}" for line in (*read_preset(project.folder / "presets" / "tiny"), *settings)]
    project.commit("recipe")
    return project.dvc("exp", "run", *values)


@pytest.mark.parametrize("patch", PATCHES, ids=["network", "initialisation", "data"])
def test_the_patches_apply(patch: str, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    assert "+" in patched(tmp_path / "project", patch).run("git", "diff", "--stat")


@pytest.mark.slow
def test_a_network(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = patched(tmp_path / "project", PATCHES[0])
    repro(project, "train_vgg11.network=F")
    assert "train_vgg11: network F" in project.dvc("repro", "--force", "--single-item", "train_vgg11")
    assert model_file.load(project.folder / "models" / "vgg16.safetensors").network.letter == "D"


@pytest.mark.slow
def test_an_initialisation(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = patched(tmp_path / "project", PATCHES[1])
    assert "train_vgg16 epoch 1/1" in repro(project, "init=orthogonal", "train_vgg16.transfer=none")


@pytest.mark.slow
def test_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    generator = np.random.default_rng(0)
    labels = np.arange(1100) % 10
    images = generator.integers(0, 256, (1100, 32, 32, 3), dtype=np.uint8)
    path = tmp_path / "project" / "mine.npz"
    np.savez(path, images=images, labels=labels, classes=[f"class{label}" for label in range(10)])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    project = patched(tmp_path / "project", PATCHES[2].replace("the SHA-256 of mine.npz", digest))
    with (project.folder / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("/mine.npz\n")
    repro(project, "dataset.name=mine")
    assert project.metrics("preprocess/metrics")["images"] == {"train": 48, "validation": 50, "test": 100}
    assert model_file.load(project.folder / "models" / "vgg16.safetensors").format.classes[3] == "class3"
