"""A repository with a small recorded pipeline, and clones of it."""

from pathlib import Path

import pytest

from tests.scripts.small_pipeline import PIPELINE, TRAIN, commit, dvc, git, report


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits: `empty` without DVC, `old` with lr 0.25, and `main` with lr 0.75; both recorded in dvc.lock."""
    repository = tmp_path_factory.mktemp("a path with spaces") / "project"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    (repository / "README.md").write_text("Nothing yet.\n")
    commit(repository, "empty")
    dvc(repository, "init", "--quiet")
    (repository / "dvc.yaml").write_text(PIPELINE)
    (repository / "train.sh").write_text(TRAIN)
    (repository / "raw.txt").write_text("raw\n")
    for lr, tag in [("0.25", "old"), ("0.75", "new")]:
        (repository / "params.yaml").write_text(f"lr: {lr}\n")
        dvc(repository, "repro", "--quiet")
        commit(repository, tag)
    return repository


@pytest.fixture
def clone(recorded: Path, tmp_path: Path) -> Path:
    """A fresh clone: no cache, no remote, no data."""
    git(tmp_path, "clone", "--quiet", str(recorded), "a clone")
    return tmp_path / "a clone"


@pytest.fixture(scope="session")
def report_in_workspace(recorded: Path) -> str:
    return report(recorded, "old")
