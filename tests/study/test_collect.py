"""What `collect` puts into tables and pages, without runs."""

from pathlib import Path

import pytest

from src.base.errors import InputError
from study import __main__ as study
from study import figures, table
from study.grid import Grid, Table
from tests.study.conftest import RUN, experiment, git, make_run, write

GRID = Grid(cells={"normal-none": "", "x": ""}, rounds=[], panels={"one": ["normal-none", "x"]})
WANTED = [RUN, *(make_run(f"tiny-x-{seed}") for seed in (1, 2))]


@pytest.fixture(autouse=True)
def _no_figures(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "draw", lambda _grid, _scale: None)


def test_a_grid_may_have_a_table_of_its_own() -> None:
    """With the cells of the grid in the order of the runs, and the columns that it names."""
    write({"docs/own.md": "Text.\n<!-- ours -->\n<!-- /ours -->\nMore.\n"})
    for run in WANTED:
        experiment(run)
    study.collect(GRID, WANTED[1:])
    columns = ["test_accuracy", "fusion_test_accuracy"]
    own = GRID.model_copy(update={"table": Table(page="docs/own.md", place="ours", scale="tiny", columns=columns)})
    study.collect(own, WANTED)
    for wanted in ([], WANTED[:1], [run._replace(scale="other") for run in WANTED]):  # the table is that of all rows
        study.collect(own, wanted)
    lines = Path("docs/own.md").read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("Text.", "More.")
    assert [line for line in lines if line.startswith("|")] == [
        "| cell | seeds | test accuracy | fusion test accuracy |",
        "| --- | ---: | ---: | ---: |",
        "| normal-none | 1 | 0.1000 | 0.4200 |",
        "| x | 2 | 0.1000 ± 0.0000 | 0.4200 ± 0.0000 |",
    ]


def test_a_run_of_another_grid_with_the_same_parameters_counts(repository: str) -> None:
    """Its rows are copied, and its outcome counts once."""
    experiment(RUN)
    study.collect(GRID, [RUN])
    git("update-ref", "-d", f"refs/exps/{repository[:2]}/{repository[2:]}/{RUN.name}")
    study.collect(GRID, [twin := RUN._replace(name="tiny-twin-0", cell="twin")])
    first, second = table.read(table.STUDY)
    assert second == first | {"name": twin.name, "cell": "twin"}
    for path, rows in ((table.CURVES, 8), (table.LAYERS, 12)):
        assert [row["name"] for row in table.read(path)] == [RUN.name] * (rows // 2) + [twin.name] * (rows // 2)
    assert "Runs: predicted no, learned no: 1." in study.PAGE.read_text(encoding="utf-8")
    assert study.outcome(twin) == study.outcome(RUN)


def test_a_name_with_other_parameters_is_refused() -> None:
    experiment(RUN)
    study.collect(GRID, [RUN])
    other = make_run(RUN.name, {"train_vgg11.epochs": "0"})
    with pytest.raises(InputError, match=rf"^{RUN.name}: docs/study.csv has a run of this name with other parameters"):
        table.check(GRID, [other])
    table.check(GRID, [RUN])


def test_a_table_with_an_unknown_column_is_refused() -> None:
    wrong = Table(page="docs/own.md", place="ours", scale="tiny", columns=["test_accuracy", "test_f1", "init"])
    with pytest.raises(InputError, match=r"^the grid's table: test_f1, init: no such column; there are: vgg11_layers"):
        table.check(GRID.model_copy(update={"table": wrong}), [])


def test_a_table_without_a_place_on_its_page_is_refused() -> None:
    write({"docs/own.md": "<!-- ours -->\n<!-- /ours -->\n"})
    place = Table(page="docs/own.md", place="ours", scale="tiny", columns=["test_accuracy"])
    table.check(GRID.model_copy(update={"table": place}), [])
    for change, message in (({"place": "mine"}, "has no place for `mine`"), ({"page": "docs/no.md"}, "no such page")):
        grid = GRID.model_copy(update={"table": place.model_copy(update=change)})
        with pytest.raises(InputError, match=rf"^docs/\w+\.md: {message}"):
            table.check(grid, [])


@pytest.mark.parametrize(("name", "line"), [("study.csv", 3), ("study/curves.csv", 6), ("study/layers.csv", 8)])
def test_a_table_after_a_merge(name: str, line: int) -> None:
    """Both sides kept, the conflict not solved, or a column that one side did not have."""
    for run in WANTED[:2]:
        experiment(run)
    study.collect(GRID, WANTED[:2])
    table.check(GRID, WANTED[:2])
    path = Path("docs", name)
    good = path.read_text(encoding="utf-8").splitlines()
    for lines, message in (
        ([*good, good[-1]], f"{good[-1].split(',')[0]}.*: twice; keep one"),
        ([*good[: line - 1], "<<<<<<< HEAD", *good[line - 1 :]], rf"line {line}: is not whole; was there a conflict"),
        (["<<<<<<< HEAD", *good], "has no column .*; was there a conflict in a merge"),
        ([row.partition(",")[2] for row in good], "has no column name"),
        ([row.rpartition(",")[0] for row in good], f"has no column {good[0].rpartition(',')[2]}"),
    ):
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        with pytest.raises(InputError, match=rf"^docs/{name}: {message}"):
            table.check(GRID, WANTED)
