"""The pull-request report, on a small repository of its own, with real git and DVC."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from scripts import pr_report
from src.base.errors import InputError
from tests.scripts.small_pipeline import PIPELINE, TRAIN, UP_TO_DATE, commit, report, rows, run


def test_says_what_changed(report_in_workspace: str) -> None:
    assert report_in_workspace.startswith("<!-- dvc-report -->\n")
    assert "Compared with `old`." in report_in_workspace
    assert UP_TO_DATE in report_in_workspace
    assert rows(report_in_workspace) == [
        ["metrics.json", "accuracy", "0.25", "0.75", "0.5"],
        ["params.yaml", "lr", "0.25", "0.75", "0.5"],
    ]


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


def test_the_scores_come_first_then_the_curves(clone: Path) -> None:
    """Also those that did not change. The other rows are folded where they are many."""
    first, second = (clone / "results" / "evaluate" / f"{name}.json" for name in ("vgg11", "vgg16"))
    first.parent.mkdir(parents=True)
    (clone / pr_report.CURVES).write_bytes(b"")
    metrics = ", ".join(f"{{{file}: {{cache: false}}}}" for file in pr_report.SCORES)
    (clone / "dvc.yaml").write_text(f"{PIPELINE}  test: {{cmd: x, metrics: [{metrics}]}}\n")
    first.write_text('{"accuracy": 0.5, "loss": 1.5}')
    second.write_text('{"accuracy": 0.25}')
    commit(clone, "scored")
    second.write_text(json.dumps({"accuracy": 0.75, **{f"extra{i}": i for i in range(12)}}))
    text = run(clone, "scored", "--pictures", "https://example.org/raw/abc").stdout
    sections = text.split("\n### ")
    assert [section.split("\n")[0] for section in sections[1:]] == ["Scores", "dvc.lock", "Metrics", "Parameters"]
    assert rows(sections[1])[1:] == [
        ["vgg11 accuracy", "0.5000", "0.5000", "0"],
        ["vgg11 loss", "1.5000", "1.5000", "0"],
        ["vgg16 accuracy", "0.2500", "0.7500", "0.5"],
    ]
    assert "![Loss and accuracy by epoch](https://example.org/raw/abc/results/evaluate/curves.png)" in sections[1]
    assert "<details><summary>13 rows</summary>" in sections[3]
    assert "![" not in run(clone, "scored").stdout
    first.unlink()
    second.write_text('{"accuracy": "<b>|`x`"}')
    (scores,) = (section for section in run(clone, "scored").stdout.split("\n### ") if section.startswith("Scores"))
    assert [line for line in scores.splitlines() if line.startswith("| vgg")] == [
        "| vgg11 accuracy | 0.5000 | - | - |",
        "| vgg11 loss | 1.5000 | - | - |",
        "| vgg16 accuracy | 0.2500 | &lt;b>\\|\\`x\\` | - |",
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


def table(count: int, value: str) -> list[list[str]]:
    return [["file", f"{number:05}", value, value, "-"] for number in range(count)]


def test_a_long_table_is_folded() -> None:
    assert "<details>" not in pr_report.shorten(table(12, "x"), ["Metric", "main"])
    text = pr_report.shorten(table(13, "x"), ["Metric", "main"])
    assert text.startswith("<details><summary>13 rows</summary>\n\n| Path")
    assert text.endswith("\n\n</details>")
    assert len(rows(text)) == 13


@pytest.mark.parametrize(("count", "value"), [(3000, "x" * 20), (50, "x" * 2000), (2, "x" * 40_000)])
def test_two_cut_tables_fit_into_a_comment(count: int, value: str) -> None:
    text = pr_report.shorten(table(count, value), ["Parameter", "main"])
    assert len(text) < 31_000
    assert f"Cut: {count - len(rows(text))} more rows." in text


@pytest.mark.parametrize(
    ("file", "behind"), [("train.sh", "train, evaluate"), ("raw.txt", "prepare, train, evaluate, count")]
)
def test_a_deleted_dependency_is_behind(clone: Path, file: str, behind: str) -> None:
    (clone / file).unlink()
    assert f"a `dvc repro` would run {behind}. " in run(clone, "main").stdout


def test_a_base_that_cannot_be_read_is_said(clone: Path) -> None:
    """The pull request repairs it."""
    pipeline = (clone / "dvc.yaml").read_text()
    (clone / "dvc.yaml").write_text("stages: [\n")
    (clone / "loop").symlink_to("loop")
    commit(clone, "broken")
    (clone / "dvc.yaml").write_text(pipeline)
    result = run(clone, "broken")
    assert result.returncode == 0, result.stderr
    assert "Compared with `broken`. `broken` cannot be read: DVC failed: unable to read: 'dvc.yaml'" in result.stdout
