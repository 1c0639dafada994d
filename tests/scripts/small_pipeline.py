"""A small pipeline, and the pull-request report on it."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

PIPELINE = """
stages:
  prepare:
    cmd: cp raw.txt data.txt
    deps: [raw.txt]
    outs: [data.txt]
  train:
    cmd: sh train.sh
    deps: [train.sh, data.txt]
    params: [lr]
    outs: [model.txt]
    metrics:
      - metrics.json:
          cache: false
  evaluate:
    cmd: echo '{"score":1}' > score.json
    deps: [model.txt]
    metrics:
      - score.json:
          cache: false
  count:
    cmd: wc -c < data.txt > count.txt
    deps: [data.txt]
    outs: [count.txt]
"""
# The "accuracy" is the learning rate.
TRAIN = """
cp data.txt model.txt
sed 's/lr: *\\(.*\\)/{"accuracy": \\1}/' params.yaml > metrics.json
"""
UP_TO_DATE = "dvc.lock is up to date"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(repository: Path, tag: str) -> None:
    git(repository, "add", "--all")
    git(repository, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", tag)
    git(repository, "tag", tag)


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


def run(folder: Path, *arguments: str, script: str = "pr_report") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"scripts.{script}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def report(folder: Path, base: str) -> str:
    result = run(folder, base)
    assert result.returncode == 0, result.stderr
    assert git(folder, "status", "--porcelain") == ""
    return result.stdout


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, headers left out."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [cells for cells in lines if cells[0] != "Path" and not cells[0].startswith("---")]
