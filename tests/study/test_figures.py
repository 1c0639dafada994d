"""The figures: what is drawn from hand-made tables."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from study import figures, table
from study.grid import Grid, Table
from tests.study.conftest import make_run

PANELS = {"one": ["a", "b", "c"], "two": ["c", "b"]}
GRID = Grid(cells=dict.fromkeys("abcz", ""), rounds=[], panels=PANELS)


def row(name: str, **columns: str) -> table.Row:
    return table.new_row(make_run(name)) | {"steps": "100", "learned": "no"} | columns


ROWS = [
    row("tiny-a-0", predicted="no", movement="0.5", weakest_signal="1e-9"),
    row("tiny-a-1", predicted="no", movement="0.4", weakest_signal="2e-9"),
    row("tiny-b-0", predicted="seed", learned="yes", movement="20", weakest_signal="1e-5") | {"optimizer.eps": "1e-12"},
    row("tiny-c-0", error="the loss is nan"),
]


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of `ROWS`: the curves of all but c, which overflowed, with layers of two kinds."""
    monkeypatch.chdir(tmp_path)
    for number, each in enumerate(ROWS):
        name = each["name"]
        layers = [
            {"name": name, "network": network, "layer": layer, "activation_std": std, "gradient_rms": f"1e-{number}"}
            for network in ("before_transfer", "after_transfer")
            for layer, std in (("conv1_1", f"{number + 1}"), ("fc8", "0.0"))
        ]
        curves = [
            {"name": name, "network": network, "epoch": f"{epoch}", "validation/accuracy": f"0.{number}{epoch}"}
            for network in ("vgg11", "vgg16")
            for epoch in (1, 2, 3, 4)
        ]
        trained = {} if each["error"] else {table.LAYERS: layers, table.CURVES: curves}
        table.write(name, {table.STUDY: [each], **trained})


def points(line: Line2D) -> list[list[float]]:
    found: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return found


def lines(axes: Axes) -> dict[object, list[list[float]]]:
    """The points of each line by its label."""
    return {line.get_label(): points(line) for line in axes.lines}


def test_layers_of_the_first_seed_of_each_cell(tables: None) -> None:
    figure = figures.layers(PANELS, ROWS)
    signal, other, gradient, _ = figure.axes
    assert {label: points[0] for label, points in lines(signal).items()} == {"a": [0, 1], "b": [0, 3]}
    assert math.isnan(lines(signal)["a"][1][1])  # 0 has no place on a logarithmic scale
    assert [points(line)[0][1] for line in gradient.lines] == [1, 1e-2, 1e-12, 1e-8]  # two cells, two eps
    assert [text.get_text() for text in gradient.texts] == ["eps 1e-12", "eps 1e-08"]
    assert {line.get_label(): line.get_color() for line in other.lines} == {"b": figures.COLOURS[1]}
    assert [axes.get_legend() is None for axes in figure.axes] == [False, False, True, True]


def test_curves_of_all_seeds_in_one_colour_with_one_name(tables: None) -> None:
    figure = figures.curves(PANELS, ROWS)
    panel = figure.axes[0]
    assert lines(panel)["a"] == [[25, 0.01], [50, 0.02], [75, 0.03], [100, 0.04]]
    assert [line.get_color() for line in panel.lines] == [figures.COLOURS[index] for index in (0, 0, 1)]
    legend = panel.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_no_empty_panel_is_drawn(tables: None) -> None:
    figure = figures.curves(PANELS | {title: ["a"] for title in ("third", "fourth", "fifth")}, ROWS)
    assert [axes.axison for axes in figure.axes] == [True, True, True, True, True, False]


def test_predictions_and_outcomes_are_counted() -> None:
    (axes,) = figures.prediction(ROWS).axes
    assert {marks.get_label(): np.asarray(marks.get_offsets()).tolist() for marks in axes.collections} == {
        "left to the seed: 1 learned": [[20, 1e-5]],
        "predicted no: 2 did not learn": [[0.5, 1e-9], [0.4, 2e-9]],
    }
    assert [points(line)[0] for line in axes.lines] == [[1, 0], [0, 1e-4]]  # a movement of 1, Adam's rate


def test_figures_of_each_scale_are_the_same_each_time(tables: None) -> None:
    big = row("tiny-a-0") | {"name": "big-a-0", "scale": "big", "train_vgg16.epochs": "1"}
    table.write("big-a-0", {table.STUDY: [big]})
    figures.draw(GRID, "tiny")
    drawn = {path.name: path.read_bytes() for path in table.LAYERS.parent.glob("*.png")}
    assert set(drawn) == {f"tiny-{name}.png" for name in ("layers", "curves", "prediction")}
    assert all(picture.startswith(b"\x89PNG") for picture in drawn.values())
    figures.draw(GRID.model_copy(update={"panels": PANELS | {"nothing is run": ["z"]}}), "tiny")
    assert drawn == {path.name: path.read_bytes() for path in table.LAYERS.parent.glob("*.png")}
    figures.draw(GRID, "big")
    others = {path.name for path in table.LAYERS.parent.glob("*.png")} - set(drawn)
    assert others == {"big-layers.png", "big-prediction.png"}  # one epoch makes no curve
    figures.draw(GRID, "a scale without runs")
    assert len(list(table.LAYERS.parent.glob("*.png"))) == 5


def test_a_grid_with_a_table_of_its_own_has_figures_of_its_own(tables: None) -> None:
    """Of its cells alone: another grid at the same scale keeps its figures."""
    place = Table(page="p", place="ours", scale="tiny", columns=[])
    own = Grid(cells={"a": ""}, rounds=[], panels={"one": ["a"]}, table=place)
    figures.draw(GRID, "tiny")
    before = {path.name: path.read_bytes() for path in table.LAYERS.parent.glob("*.png")}
    figures.draw(own, "tiny")
    after = {path.name: path.read_bytes() for path in table.LAYERS.parent.glob("*.png")}
    assert {name: content for name, content in after.items() if name in before} == before
    assert set(after) - set(before) == {f"ours-tiny-{name}.png" for name in ("layers", "curves", "prediction")}
    assert after["ours-tiny-prediction.png"] != before["tiny-prediction.png"]


def test_a_scale_where_all_runs_overflowed_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table.write(ROWS[3]["name"], {table.STUDY: [ROWS[3]]})
    figures.draw(GRID, "tiny")
    assert len(list(table.LAYERS.parent.glob("*.png"))) == 3
