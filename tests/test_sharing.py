"""docs/sharing.md, tried: what one clone has computed, another one gets from a git repository and a DVC remote."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.small_pipeline import PIPELINE, TRAIN, git

pytestmark = pytest.mark.slow  # some twenty commands of DVC


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
    environment |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", message)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A clone that has run the pipeline with two learning rates and pushed everything."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "first")
    folder = tmp_path / "first"
    git(folder, "checkout", "--quiet", "-B", "main")
    pipeline = f"{PIPELINE}artifacts: {{model: {{path: model.txt, type: model}}}}\n"
    for name, text in {"dvc.yaml": pipeline, "train.sh": TRAIN, "raw.txt": "raw\n", "params.yaml": "lr: 0.5\n"}.items():
        (folder / name).write_text(text)
    dvc(folder, "init", "--quiet")
    dvc(folder, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    dvc(folder, "repro")
    (folder / "params.yaml").write_text("lr: 0.25\n")
    dvc(folder, "repro")
    commit(folder, "run")
    git(folder, "push", "--quiet", "origin", "main")
    dvc(folder, "push", "--run-cache")
    return folder


@pytest.fixture
def second(first: Path) -> Path:
    git(first.parent, "clone", "--quiet", "origin.git", "second")
    return first.parent / "second"


def test_a_second_clone_gets_everything_and_computes_nothing(first: Path, second: Path) -> None:
    dvc(second, "pull")
    assert "up to date" in dvc(second, "status")
    assert (second / "model.txt").read_bytes() == (first / "model.txt").read_bytes()
    assert "Data and pipelines are up to date." in dvc(second, "repro")


def test_earlier_runs_come_with_a_copy_of_the_cache_and_not_with_the_run_cache(first: Path, second: Path) -> None:
    """`dvc push --run-cache` leaves out the files that git has, such as metrics, so these runs cannot be restored.

    When this test fails, DVC has learnt it: say so in docs/sharing.md.
    """
    dvc(second, "pull", "--run-cache")
    (second / "params.yaml").write_text("lr: 0.5\n")  # as in the first run of the first clone
    assert "Running stage 'train'" in dvc(second, "repro")
    git(second, "checkout", "--quiet", ".")
    shutil.rmtree(second / ".dvc" / "cache")
    dvc(second, "cache", "dir", "--local", str(first / ".dvc" / "cache"))
    (second / "params.yaml").write_text("lr: 0.5\n")
    assert "Stage 'train' is cached - skipping run" in dvc(second, "repro")
    assert json.loads((second / "metrics.json").read_text()) == {"accuracy": 0.5}


def test_experiments_go_from_clone_to_clone(first: Path, second: Path) -> None:
    dvc(first, "exp", "run", "--name", "larger", "--set-param", "lr=0.75")
    dvc(first, "exp", "push", "origin", "larger")
    assert "larger" in dvc(second, "exp", "list", "origin", "--all-commits")
    dvc(second, "exp", "pull", "origin", "larger")
    dvc(second, "exp", "apply", "larger")
    assert json.loads((second / "metrics.json").read_text()) == {"accuracy": 0.75}
    assert (second / "model.txt").exists()


def test_a_model_can_be_taken_without_a_clone(first: Path, tmp_path: Path) -> None:
    dvc(tmp_path, "get", str(first.parent / "origin.git"), "model.txt", "--out", "mine.txt")
    git(first, "-c", "user.name=A", "-c", "user.email=a@example.org", "tag", "-a", "model@v1.0.0", "-m", "first")
    git(first, "push", "--quiet", "--tags")
    dvc(tmp_path, "artifacts", "get", str(first.parent / "origin.git"), "model", "--out", "again.txt")
    for name in ("mine.txt", "again.txt"):
        assert (tmp_path / name).read_bytes() == (first / "model.txt").read_bytes()


def test_a_conflict_in_the_lock_is_solved_by_a_run(first: Path, second: Path) -> None:
    """Two branches with other parameters conflict in dvc.lock and results. Take one side of these; then `dvc repro`."""
    for folder, rate in ((first, "1.5"), (second, "2.5")):
        (folder / "params.yaml").write_text(f"lr: {rate}\n")
        dvc(folder, "repro")
        commit(folder, rate)
    git(second, "push", "--quiet", "origin", "main")
    git(first, "fetch", "--quiet", "origin")
    merge = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "merge", "--quiet", "origin/main"]
    assert subprocess.run(merge, cwd=first, capture_output=True, check=False).returncode == 1
    git(first, "checkout", "--quiet", "--theirs", "dvc.lock", "metrics.json")
    (first / "params.yaml").write_text("lr: 1.5\n")
    assert "Stage 'train' is cached - skipping run" in dvc(first, "repro")
    commit(first, "merge")
    assert json.loads((first / "metrics.json").read_text()) == {"accuracy": 1.5}
    assert "up to date" in dvc(first, "status")
