"""The figures of the study, drawn from its tables alone."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.base.plot_style import save, styled
from study.grid import Grid
from study.table import CURVES, LAYERS, STUDY, Row, group, read

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # Okabe & Ito
DASHED: dict[str, Any] = {"color": "0.4", "linestyle": "--", "linewidth": 1}
Panels = dict[str, list[str]]  # the cells that each panel compares, by title


def draw(grid: Grid, scale: str) -> None:
    """Draw the figures of a grid at a scale that has runs: the panels with runs, curves where a run has several epochs.

    The figures of a grid with a table of its own have the name of its place, too.
    """
    panels, name = grid.panels, f"{grid.table.place}-{scale}" if grid.table else scale
    if rows := [row for row in group(read(STUDY), "scale").get(scale, []) if row["cell"] in grid.cells]:
        ran = {row["cell"] for row in rows}
        panels = {title: cells for title, cells in panels.items() if ran & set(cells)} or panels
        save(layers(panels, rows), LAYERS.with_name(f"{name}-layers.png"))
        save(prediction(rows), LAYERS.with_name(f"{name}-prediction.png"))
        if any(float(row["train_vgg16.epochs"]) > 1 for row in rows):
            save(curves(panels, rows), LAYERS.with_name(f"{name}-curves.png"))


@styled
def layers(panels: Panels, rows: list[Row]) -> Figure:
    """Activations and gradients of the first seed of each cell."""
    figure = Figure(figsize=(20, 8), layout="constrained")
    figure.suptitle("Signal and gradient by layer when train_vgg16 starts, after the transfer")
    grid = figure.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False)
    measured = group([layer for layer in read(LAYERS) if layer["network"] == "after_transfer"], "name")
    first = {row["cell"]: measured.get(row["name"], []) for row in reversed(rows)}
    # Sorted, the paper's names are in the order of depth, also where the networks differ.
    names = sorted({layer["layer"] for values in first.values() for layer in values})
    for (title, cells), (signal, gradient) in zip(panels.items(), grid.T, strict=True):
        for cell, colour in zip(cells, COLOURS, strict=False):
            for axes, column, label in ((signal, "activation_std", cell), (gradient, "gradient_rms", None)):
                if mine := first.get(cell):
                    values = [float(layer[column]) or math.nan for layer in mine]  # 0 has no logarithm
                    places = [names.index(layer["layer"]) for layer in mine]
                    axes.plot(places, values, marker="o", markersize=4, color=colour, label=label)
        for eps in sorted({float(row["optimizer.eps"]) for row in rows if row["cell"] in cells}):
            gradient.axhline(eps, **DASHED)
            gradient.annotate(f"eps {eps:g}", (10, eps), (0, -3), textcoords="offset points", va="top", size="small")
        gradient.set_xticks(range(len(names)), names, rotation=90)
        finish(signal, title=title, yscale="log", ylabel="standard deviation of activations")
        finish(gradient, yscale="log", ylabel="RMS of weight gradients")
    return figure


@styled
def curves(panels: Panels, rows: list[Row]) -> Figure:
    """Validation accuracy of all runs. The seeds of a cell have one colour."""
    rows_of_panels = 1 if len(panels) <= 3 else 2
    figure = Figure(figsize=(14, 4.5 * rows_of_panels), layout="constrained")
    figure.suptitle("train_vgg16: accuracy on validation images; one dot per epoch, one line per seed")
    grid = figure.subplots(
        rows_of_panels, math.ceil(len(panels) / rows_of_panels), sharex=True, sharey=True, squeeze=False
    )
    trained = group([epoch for epoch in read(CURVES) if epoch["network"] == "vgg16"], "name")
    for (title, cells), axes in zip(panels.items(), grid.flat, strict=False):
        for cell, colour in zip(cells, COLOURS, strict=False):
            for seed, row in enumerate(row for row in rows if row["cell"] == cell and row["name"] in trained):
                epochs = trained[row["name"]]
                steps = [float(epoch["epoch"]) / len(epochs) * float(row["steps"]) for epoch in epochs]
                accuracy = [float(epoch["validation/accuracy"]) for epoch in epochs]
                axes.plot(steps, accuracy, marker=".", color=colour, label="_" * seed + cell)  # the first in the legend
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        finish(axes, title=title, xlim=(0, None), xlabel="step", ylabel="accuracy")
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    return figure


@styled
def prediction(rows: list[Row]) -> Figure:
    """Movement and weakest signal of each run, and whether it learned."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes, seen = figure.subplots(), [row for row in rows if row["movement"] and row["learned"]]
    for predicted, colour in (("yes", COLOURS[2]), ("seed", COLOURS[4]), ("no", COLOURS[1])):
        said = "left to the seed" if predicted == "seed" else f"predicted {predicted}"
        for learned, came, marker in (("yes", "learned", "o"), ("no", "did not learn", "X")):
            if mine := [row for row in seen if (row["predicted"], row["learned"]) == (predicted, learned)]:
                x, y = ([float(row[column]) for row in mine] for column in ("movement", "weakest_signal"))
                label = f"{said}: {len(mine)} {came}"
                axes.scatter(x, y, s=60, color=colour, marker=marker, alpha=0.7, label=label)
    axes.axvline(1, **DASHED)
    for rate in sorted({float(row["optimizer.lr"]) for row in seen if row["optimizer.name"] == "adam"}):
        axes.axhline(rate, **DASHED)
    title = "Prediction before training and what came of it; one mark per run\n"
    axes.set_title(f"{title}Dashed: a movement of 1, and Adam's learning rate")
    axes.set_xlabel("movement: steps x (first step / weights x share of inputs that differ), summed over layers")
    finish(axes, xscale="log", yscale="log", ylabel="weakest signal of a layer before training")
    return figure


def finish(axes: Axes, **settings: Any) -> None:
    axes.set(**settings)
    axes.label_outer()
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
