"""The grid: what is valid, and the runs that it makes at a scale."""

import re
from pathlib import Path

import pytest

from scripts.parameters import plain
from src.base.errors import InputError
from study.__main__ import check
from study.grid import VARIED, Grid, Round, read, runs
from tests.study.conftest import RUN, VALUES

SCALES = sorted(Path("presets").glob("study-*"))
GRIDS = {path.stem: read(path) for path in sorted(Path("study").glob("*.yaml"))}
EVERY = [
    pytest.param(grid, scale, id=f"{name} {scale.name}")
    for name, grid in GRIDS.items()
    for scale in SCALES
    if scale.name == "study-cpu" or name == "larger"  # all cells at one scale, and some cells at all scales
]


@pytest.mark.parametrize(("grid", "scale"), EVERY)
def test_every_cell_of_a_grid_is_valid(grid: Grid, scale: Path) -> None:
    check(runs(grid, scale, VALUES))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_grid_varies_what_it_says(grid: Grid) -> None:
    settings = [run.settings for scale in SCALES for run in runs(grid, scale, VALUES)]
    assert {key for each in settings for key in each} <= set(VARIED)
    assert {cell for round_ in grid.rounds for cell in round_.cells} == set(grid.cells)


def test_a_row_of_the_study_has_every_parameter_that_changes_more_than_last_bits() -> None:
    """Else a run with another value would count as done."""
    last_bits = {
        f"runtime.{key}" for key in ("device", "convolution", "deterministic", "compile", "devices", "threads")
    }
    assert set(VARIED) == set(VALUES) - last_bits


@pytest.mark.parametrize(("grid", "scale"), EVERY)
def test_no_two_runs_are_the_same(grid: Grid, scale: Path) -> None:
    all_runs = runs(grid, scale, VALUES)
    assert len({tuple(run.parameters[key] for key in VARIED) for run in all_runs}) == len(all_runs)
    assert len({run.name for run in all_runs}) == len(all_runs)


def test_a_cell_overrides_the_scale(tmp_path: Path) -> None:
    scale = tmp_path / "tiny"
    scale.write_text("train_vgg11.epochs=2\nbatch_size=32\n", encoding="utf-8")
    grid = Grid(
        cells={"a": "init=none  train_vgg11.epochs=0", "b": "init=none"},
        rounds=[Round(question="?", seeds=[0, 1], cells=["a"]), Round(question="?", seeds=[0], cells=["b"])],
        panels={"?": ["a"]},
    )
    first, second, third = runs(grid, scale, VALUES)
    assert [run.name for run in (first, second, third)] == ["tiny-a-0", "tiny-a-1", "tiny-b-0"]
    assert first.settings == {"train_vgg11.epochs": "0", "batch_size": "32", "init": "none", "seed": "0"}
    assert first.parameters == VALUES | {"train_vgg11.epochs": 0.0, "batch_size": 32.0, "init": "none", "seed": 0.0}
    assert (second.settings["seed"], third.settings["train_vgg11.epochs"], third.round) == ("1", "2", 2)
    scale.write_text("init=none\ntrain_vgg11.epochs=0\n", encoding="utf-8")
    assert [run.name for run in runs(grid, scale, VALUES)] == ["tiny-a-0", "tiny-a-1"]  # b is now the same as a


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cells: {a: init}\nrounds: []\npanels: {p: []}",
            r"not a grid: .*cells.a .*should match .*\(\(dataset\\.name\|init\|",
        ),
        ("cells: {a: drop=0}\nrounds: []\npanels: {p: []}", "not a grid: .*cells.a .*input_value='drop=0'"),
        ("cells: {a b: init=none}\nrounds: []\npanels: {p: []}", "not a grid: .*cells.a b.* should match"),
        ("cells: {a|b: init=none}\nrounds: []\npanels: {p: []}", r"not a grid: .*cells.a\|b.* should match"),
        ("cells: {a: init=none, b: '', a: init=normal}\nrounds: []\npanels: {p: []}", ".*key 'a' twice; keep one"),
        ("cells: {}\nrounds: []\nrounds: []\npanels: {p: []}", ".*key 'rounds' twice; keep one"),
        ("cells: {a: init=none dropout=0 init=none}\nrounds: []\npanels: {p: []}", "cell a: init: twice; keep one$"),
        ("cells: {a: seed=1}\nrounds: []\npanels: {p: []}", "not a grid: .*cells.a .*input_value='seed=1'"),
        ("cells: {a: optimizerXlr=1}\nrounds: []\npanels: {p: []}", "not a grid: .*cells.a "),
        ("cells: {a: init=none seed}\nrounds: []\npanels: {p: []}", "not a grid: .*cells.a "),
        ("cells: {}\nrounds: [{question: q, seeds: [0], cells: [b]}]\npanels: {p: [c]}", "no such cell: b, c$"),
        ("cells: {}\nrounds: [{question: q, seeds: [-1], cells: [b]}]\npanels: {p: []}", "not a grid: .*seeds.0 "),
        ("cells: {}\nrounds: []\npanels: {}", "not a grid: .*panels "),
        ("cells: [", "not valid YAML: "),
        ("", "expected `key: value` lines"),
    ],
)
def test_what_is_no_grid(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_grid_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"grid\.yaml: not found"):
        read(tmp_path / "grid.yaml")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train_vgg16.network=F", "train_vgg16.network: 'F': Input should be 'A', "),
        ("image.resize=16", "image.resize: 16: expected a whole number from 32 to 1024"),
        ("evaluate.scales=[16]", r"evaluate.scales: \[16\]: expected auto or a list"),
        ("train_vgg16.transfer='none'", "train_vgg16.transfer: DVC writes another value"),
        ("evaluate.scales=[32,+40]", "evaluate.scales: DVC writes another value"),
    ],
)
def test_what_the_stages_do_not_allow_is_found_before_any_work(setting: str, message: str, repository: str) -> None:
    key, value = setting.split("=")
    check([RUN])
    settings, parameters = RUN.settings | {key: value}, RUN.parameters | {key: plain(value)}
    wrong = RUN._replace(cell="wrong", settings=settings, parameters=parameters)
    with pytest.raises(InputError, match=f"^cell wrong: (params.yaml: )?{message}"):
        check([RUN, wrong])
