"""The pull-request report in clones of every kind."""

import shutil
from pathlib import Path

import pytest

from scripts import pr_report
from src.base.errors import InputError
from tests.scripts.small_pipeline import commit, git, report, rows, run


def test_a_clone_without_cache_and_remote_gives_the_same(clone: Path, report_in_workspace: str) -> None:
    assert report(clone, "old") == report_in_workspace


def test_a_shallow_clone_gives_the_same(recorded: Path, tmp_path: Path, report_in_workspace: str) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", recorded.as_uri(), "shallow")
    assert run(tmp_path / "shallow", "old").returncode == 1
    git(tmp_path / "shallow", "fetch", "--quiet", "--depth=1", "origin", "tag", "old")
    assert report(tmp_path / "shallow", "old") == report_in_workspace


def test_a_folder_that_git_refuses_is_said(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user does not own the checkout; git has a switch for its own tests."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")
    result = run(clone, "main")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: git rev-parse: fatal: detected dubious ownership")
    assert "safe.directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "limit", ["blob:none", *(pytest.param(limit, marks=pytest.mark.slow) for limit in ("tree:0", "blob:limit=1"))]
)
def test_a_partial_clone_gives_the_same(recorded: Path, tmp_path: Path, report_in_workspace: str, limit: str) -> None:
    git(recorded, "config", "uploadpack.allowFilter", "true")
    git(recorded, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "--quiet", f"--filter={limit}", recorded.as_uri(), "partial")
    assert report(tmp_path / "partial", "old") == report_in_workspace


def test_a_partial_clone_without_its_remote_is_one_line(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "remote")
    git(tmp_path / "remote", "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", (tmp_path / "remote").as_uri(), "partial")
    shutil.rmtree(tmp_path / "remote")
    result = run(tmp_path / "partial", "old")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: git archive: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_command_that_does_not_end_is_one_line(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pr_report, "PATIENCE", 0.2)
    with pytest.raises(InputError, match=r"^no answer of `sleep 60` in 0.2 s; in a partial clone"):
        pr_report.run(["sleep", "60"], clone)


def test_a_project_below_the_root_of_its_repository(recorded: Path, tmp_path: Path) -> None:
    """With other files above it, and a revision before the move."""
    git(tmp_path, "clone", "--quiet", str(recorded), "above")
    above = tmp_path / "above"
    (above / "sub").mkdir()
    for name in [name for name in git(above, "ls-files").split() if "/" not in name or name.startswith(".dvc/")]:
        (above / "sub" / name).parent.mkdir(exist_ok=True)
        git(above, "mv", name, f"sub/{name}")
    commit(above, "moved")
    (above / "sub" / "params.yaml").write_text("lr: 0.5\n")
    result = run(above / "sub", "moved")
    assert result.returncode == 0, result.stderr
    assert ["params.yaml", "lr", "0.75", "0.5", "-0.25"] in rows(result.stdout)
    result = run(above / "sub", "moved^")
    assert result.returncode == 0, result.stderr
    assert ["params.yaml", "lr", "-", "0.5", "-"] in rows(result.stdout)  # nothing was here
