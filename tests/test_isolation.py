"""Tests touch no repository but their own, whatever git exports and however git is configured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def developer(tmp_path: Path) -> Path:
    """A linked worktree of a repository with one commit."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    (repository / "file").write_text("precious", encoding="utf-8")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "start")
    git(repository, "worktree", "add", "-q", str(tmp_path / "worktree"))
    return tmp_path / "worktree"


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/study/test_table.py"],
        pytest.param(["tests/scripts/test_pr_report_clones.py"], marks=pytest.mark.slow),
    ],
)
def test_a_git_hook_in_a_linked_worktree(tests: list[str], developer: Path, tmp_path: Path) -> None:
    """Git exports GIT_DIR and more to hooks. This user signs commits and has hooks for all repositories."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (hooks / "pre-commit").chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    settings = f"[commit]\n\tgpgsign = true\n[core]\n\thooksPath = {hooks}\n[diff]\n\tnoprefix = true\n"
    (home / ".gitconfig").write_text(settings, encoding="utf-8")
    folder = git(developer, "rev-parse", "--absolute-git-dir")
    before = state(developer)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x", *tests],
        cwd=ROOT,
        env=os.environ
        | {"GIT_DIR": folder, "GIT_INDEX_FILE": f"{folder}/index", "GIT_WORK_TREE": str(developer)}
        | {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert state(developer) == before


def state(developer: Path) -> list[str]:
    """What a test must not change: branches, commits, configuration, index and files."""
    questions = ("for-each-ref", "config --list --local", "status --porcelain", "ls-files --stage", "worktree list")
    return [git(developer, *question.split()) for question in questions]
