"""The pull-request report, on a small repository of its own, with real git and DVC."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts import pr_report
from src.base.errors import InputError

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
        ["params.yaml", "lr", "0.25", "0.75", "0.5"],
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
        ["params.yaml", "lr", "-", "0.75", "-"],
    ]


def test_a_stale_lock_is_reported_and_no_failure(clone: Path) -> None:
    (clone / "params.yaml").write_text("lr: 0.5\n")
    result = run(clone, "old")
    assert result.returncode == 0
    assert "dvc.lock is behind: a `dvc repro` would run train, evaluate. " in result.stdout
    assert UP_TO_DATE not in result.stdout
    assert ["params.yaml", "lr", "0.25", "0.5", "0.25"] in rows(result.stdout)


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
    assert pr_report.read(Path.cwd()).behind == behind


def test_names_them_where_the_data_are_there_too(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    (tmp_path / "copy" / "params.yaml").write_text("lr: 0.5\n")
    monkeypatch.chdir(tmp_path / "copy")
    assert pr_report.read(Path.cwd()).behind == ["train", "evaluate"]


def test_stages_that_were_never_recorded_are_behind(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = yaml.safe_load((clone / "dvc.lock").read_text())
    del lock["stages"]["train"], lock["stages"]["evaluate"]
    (clone / "dvc.lock").write_text(yaml.safe_dump(lock))
    monkeypatch.chdir(clone)
    assert pr_report.read(Path.cwd()).behind == ["train", "evaluate"]


def test_without_a_lock_all_stages_are_behind(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "dvc.lock").unlink()
    monkeypatch.chdir(clone)
    assert pr_report.read(Path.cwd()).behind == ["prepare", "train", "evaluate", "count"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("dvc.yaml", "lr: [\n", "unable to read: 'dvc.yaml'"),
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
    assert result.stderr.startswith("error: ")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("base", ["nowhere", ""])
def test_an_unknown_revision_is_one_line(base: str, clone: Path) -> None:
    result = run(clone, base)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: unknown git revision {base!r}: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_failing_dvc_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^DVC failed: you are not inside of a DVC repository"):
        pr_report.read(tmp_path)


@pytest.mark.parametrize(("file", "behind"), [("metrics.json", "train, evaluate"), ("score.json", "evaluate")])
def test_a_deleted_result_is_behind(clone: Path, file: str, behind: str) -> None:
    (clone / file).unlink()
    assert f"a `dvc repro` would run {behind}. " in run(clone, "main").stdout


def test_only_what_the_pull_request_changes_is_new(clone: Path) -> None:
    """The base is behind with `count`, which the pull request does not touch; then with the stage it changes."""
    pipeline = (clone / "dvc.yaml").read_text()
    (clone / "dvc.yaml").write_text(pipeline.replace("wc -c", "wc -l"))
    commit(clone, "behind")
    assert "dvc.lock is as it was: count were behind before, and no other stage is." in run(clone, "behind").stdout
    (clone / "params.yaml").write_text("lr: 0.5\n")
    text = run(clone, "behind").stdout
    assert "a `dvc repro` would run train, evaluate. " in text
    assert "Behind before already: count." in text


@pytest.mark.parametrize("value", ["a|b", "line\nline", "<b>", "`x`", "\\|", "é ; DROP", "[x](y)|"])
def test_no_value_breaks_the_table(value: str) -> None:
    before = {("params.yaml", "list"): ["x"], (value, "key"): 1}
    now = {("params.yaml", "list"): [value, value], ("params.yaml", "name"): value, ("params.yaml", value): value}
    lines = pr_report.differences("Parameters", before, now, value).splitlines()[2:]
    assert len(lines) == 6  # header, rule, four rows
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {6}


def test_a_folder_that_git_refuses_is_said(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user does not own the checkout; git has a switch for its own tests."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")
    result = run(clone, "main")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: git rev-parse: fatal: detected dubious ownership")
    assert "safe.directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("limit", ["blob:none", "tree:0", "blob:limit=1"])
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


def table(count: int, value: str) -> list[list[str]]:
    return [["file", f"{number:05}", value, value, "-"] for number in range(count)]


def test_a_long_table_is_folded() -> None:
    assert "<details>" not in pr_report.shorten(table(60, "x"), ["Metric", "main"])
    text = pr_report.shorten(table(61, "x"), ["Metric", "main"])
    assert text.startswith("<details><summary>61 rows</summary>\n\n| Path")
    assert text.endswith("\n\n</details>")
    assert len(rows(text)) == 61


@pytest.mark.parametrize(("count", "value"), [(3000, "x" * 20), (50, "x" * 2000), (2, "x" * 40_000)])
def test_two_cut_tables_fit_into_a_comment(count: int, value: str) -> None:
    text = pr_report.shorten(table(count, value), ["Parameter", "main"])
    assert len(text) < 31_000
    assert f"Cut: {count - len(rows(text))} more rows." in text
