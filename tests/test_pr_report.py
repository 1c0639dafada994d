"""The pull-request report, on a small repository of its own, with real git and DVC."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts import pr_report
from src.errors import InputError

PROJECT = Path(__file__).parents[1]

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


@pytest.fixture(scope="module", autouse=True)
def _no_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody's settings: no git user, and DVC's site cache out of the way."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        yield


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def report_in_workspace(recorded: Path) -> str:
    return report(recorded, "old")


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(repository: Path, tag: str) -> None:
    git(repository, "add", "--all")
    git(repository, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", tag)
    git(repository, "tag", tag)


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


def run(folder: Path, base: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.pr_report", base],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
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


def test_says_what_changed(report_in_workspace: str) -> None:
    assert report_in_workspace.startswith("<!-- dvc-report -->\n")
    assert "Compared with `old`." in report_in_workspace
    assert UP_TO_DATE in report_in_workspace
    assert rows(report_in_workspace) == [
        ["metrics.json", "accuracy", "0.25", "0.75", "0.5"],
        ["params.yaml", "lr", "0.25", "0.75"],
    ]


def test_a_clone_without_cache_and_remote_gives_the_same(clone: Path, report_in_workspace: str) -> None:
    assert report(clone, "old") == report_in_workspace


def test_a_shallow_clone_gives_the_same(recorded: Path, tmp_path: Path, report_in_workspace: str) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", recorded.as_uri(), "shallow")
    assert run(tmp_path / "shallow", "old").returncode == 1
    git(tmp_path / "shallow", "fetch", "--quiet", "--depth=1", "origin", "tag", "old")
    assert report(tmp_path / "shallow", "old") == report_in_workspace


def test_says_so_when_nothing_changed(clone: Path) -> None:
    text = report(clone, "main")
    assert UP_TO_DATE in text
    assert "### Metrics\n\nNo change." in text
    assert "### Parameters\n\nNo change." in text


def test_against_a_revision_without_dvc_all_is_new(clone: Path) -> None:
    text = report(clone, "empty")
    assert UP_TO_DATE in text
    assert rows(text) == [
        ["metrics.json", "accuracy", "-", "0.75", "-"],
        ["score.json", "score", "-", "1", "-"],
        ["params.yaml", "lr", "-", "0.75"],
    ]


def test_a_stale_lock_is_reported_and_no_failure(clone: Path) -> None:
    (clone / "params.yaml").write_text("lr: 0.5\n")
    result = run(clone, "old")
    assert result.returncode == 0
    assert "dvc.lock is behind: a `dvc repro` would run train, evaluate. " in result.stdout
    assert UP_TO_DATE not in result.stdout
    assert ["params.yaml", "lr", "0.25", "0.5"] in rows(result.stdout)


@pytest.mark.parametrize(
    ("file", "content", "behind"),
    [
        ("params.yaml", "lr: 0.5\n", ["train", "evaluate"]),
        ("train.sh", f"{TRAIN}# changed\n", ["train", "evaluate"]),
        ("raw.txt", "more\n", ["prepare", "train", "evaluate", "count"]),
    ],
)
def test_names_the_stages_behind(
    file: str, content: str, behind: list[str], clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / file).write_text(content)
    monkeypatch.chdir(clone)
    assert pr_report.stages_behind() == behind


def test_names_them_where_the_data_are_there_too(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    (tmp_path / "copy" / "params.yaml").write_text("lr: 0.5\n")
    monkeypatch.chdir(tmp_path / "copy")
    assert pr_report.stages_behind() == ["train", "evaluate"]


def test_stages_that_were_never_recorded_are_behind(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = yaml.safe_load((clone / "dvc.lock").read_text())
    del lock["stages"]["train"], lock["stages"]["evaluate"]
    (clone / "dvc.lock").write_text(yaml.safe_dump(lock))
    monkeypatch.chdir(clone)
    assert pr_report.stages_behind() == ["train", "evaluate"]


def test_without_a_lock_all_stages_are_behind(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "dvc.lock").unlink()
    monkeypatch.chdir(clone)
    assert pr_report.stages_behind() == ["prepare", "train", "evaluate", "count"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("dvc.yaml", "lr: [\n", "dvc.yaml' is invalid"),
        ("params.yaml", "lr: [\n", "unable to read: 'params.yaml'"),
        (
            "dvc.yaml",
            f"{PIPELINE}  again: {{cmd: x, outs: [model.txt]}}\n",
            "output 'model.txt' is specified in: - ",
        ),  # then both stages, in any order
    ],
)
def test_a_wrong_file_is_one_line(file: str, content: str, reason: str, clone: Path) -> None:
    (clone / file).write_text(content)
    result = run(clone, "old")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: dvc ")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("base", ["nowhere", ""])
def test_an_unknown_revision_is_one_line(base: str, clone: Path) -> None:
    result = run(clone, base)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: unknown git revision {base!r}: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_failing_dvc_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^dvc stage list --name-only failed: you are not inside of a DVC repository"):
        pr_report.stages_behind()


def table(count: int, value: str) -> str:
    """A table as DVC prints it: columns padded to the widest value."""
    header = f"| Path  | {'Param':{len(value)}} |\n|-------|{'-' * (len(value) + 2)}|\n"
    return header + "".join(f"| {number:05} | {value} |\n" for number in reversed(range(count)))


def test_rows_are_sorted() -> None:
    assert [cells[0] for cells in rows(pr_report.shorten(table(3, "x"), "command"))] == ["00000", "00001", "00002"]


def test_a_long_table_is_folded() -> None:
    assert "<details>" not in pr_report.shorten(table(60, "x"), "command")
    text = pr_report.shorten(table(61, "x"), "command")
    assert text.startswith("<details><summary>61 rows</summary>\n\n| Path")
    assert text.endswith("\n\n</details>")
    assert len(rows(text)) == 61


@pytest.mark.parametrize(("count", "value"), [(3000, "x" * 20), (50, "x" * 2000), (2, "x" * 40_000)])
def test_two_cut_tables_fit_into_a_comment(count: int, value: str) -> None:
    text = pr_report.shorten(table(count, value), "dvc params diff main")
    assert len(text) < 31_000
    assert f"Cut: {count - len(rows(text))} more rows; `dvc params diff main` prints them." in text
