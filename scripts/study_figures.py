"""The figures of the study, drawn from its tables alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scripts.study_table import Row, read_rows
from src.figures import save, styled

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")
"""Okabe & Ito's, which colour-blind readers can tell apart."""
SETS = {
    "without VGG11, by initialisation": ("normal-none", "none-none", "xavier-none", "kaiming-none"),
    "N(0, 0.01²), by what VGG11 gives": (
        *("normal-none", "normal-convolutions", "normal-fully_connected", "normal-paper"),
        *("pretrained-4-convolutions", "pretrained-4-fully_connected", "pretrained-4-paper"),
    ),
    "N(0, 0.01²) without VGG11, by remedy": (
        *("normal-none", "eps-1e-12-none", "eps-1e-16-none", "pixels-255-none"),
        *("std-0.02-none", "std-0.03-none", "std-0.05-none"),
    ),
    "by the amount of images and of VGG11": (
        *("fraction-0.5-once-none", "fraction-0.5-once-paper", "kaiming-none", "fraction-0.02-kaiming"),
        *("pretrained-1-paper", "pretrained-2-paper", "pretrained-4-paper"),
    ),
}
"""The cells that are compared in one panel."""


def draw(table: Path, folder: Path) -> list[Path]:
    """Draw what the tables have, for each scale; returns the files written.

    - <scale>-layers.png: activations and gradients of VGG16 by layer when its training starts
    - <scale>-curves.png: validation accuracy by step, where there is more than one epoch
    - <scale>-prediction.png: movement and weakest signal of each run, and whether it learned
    """
    rows = read_rows(table)
    tables = {name: read_rows(folder / f"{name}.csv") for name in ("layers", "curves")}
    written = []
    for scale in dict.fromkeys(row["scale"] for row in rows):
        here = {row["name"]: row for row in rows if row["scale"] == scale}
        pictures = {"layers": layers(here, tables["layers"]), "prediction": prediction(list(here.values()))}
        if any(float(row["train_vgg16.epochs"]) > 1 for row in here.values()):
            pictures["curves"] = curves(here, tables["curves"])
        for name, figure in pictures.items():
            written.append(folder / f"{scale}-{name}.png")
            save(figure, written[-1])
    return written


@styled
def layers(runs: Mapping[str, Row], table: Sequence[Row]) -> Figure:
    """Draw a column of panels for each of `SETS`, a line a cell: its first seed."""
    figure = Figure(figsize=(20, 8), layout="constrained")
    figure.suptitle("Signal and gradient of VGG16 by layer when its training starts, after the transfer")
    grid = figure.subplots(2, len(SETS), sharex=True, sharey="row", squeeze=False)
    below: Any = {"textcoords": "offset points", "verticalalignment": "top"}
    for (title, cells), (signal, gradient) in zip(SETS.items(), grid.T, strict=True):
        for cell, colour in zip(cells, COLOURS, strict=False):
            name = next((name for name, row in runs.items() if row["cell"] == cell), "")
            mine = [row for row in table if (row["name"], row["network"]) == (name, "after_transfer")]
            names = [row["layer"] for row in mine]
            for axes, column in ((signal, "activation_std"), (gradient, "gradient_rms")):
                if mine:
                    values = [float(row[column]) or np.nan for row in mine]  # 0 has no place on a logarithmic scale
                    axes.plot(names, values, marker="o", markersize=4, color=colour, label=cell)
        for eps in sorted({float(row["optimizer.eps"]) for row in runs.values() if row["cell"] in cells}):
            gradient.axhline(eps, color="0.4", linestyle="--", linewidth=1)
            gradient.annotate(f"eps {eps:g}", (10, eps), xytext=(0, -3), **below, fontsize="small")
        signal.set_title(title)
        gradient.tick_params(axis="x", rotation=90)
        for axes in (signal, gradient):
            axes.set_yscale("log")
            axes.grid(alpha=0.3)
        legend(signal)
    grid[0, 0].set_ylabel("standard deviation of activations")
    grid[1, 0].set_ylabel("RMS of weight gradients")
    return figure


@styled
def curves(runs: Mapping[str, Row], table: Sequence[Row]) -> Figure:
    """Draw a panel for each of `SETS`, a line a run: the seeds of a cell have one colour."""
    figure = Figure(figsize=(14, 9), layout="constrained")
    figure.suptitle("VGG16: accuracy on validation images; a dot an epoch, a line a seed")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for (title, cells), axes in zip(SETS.items(), panels.flat, strict=True):
        for cell, colour in zip(cells, COLOURS, strict=False):
            label = cell
            for name in (name for name, row in runs.items() if row["cell"] == cell):
                mine = [row for row in table if (row["name"], row["network"]) == (name, "vgg16")]
                if mine:
                    accuracy = [float(row["validation/accuracy"]) for row in mine]
                    done = [float(row["epoch"]) / len(mine) * float(runs[name]["steps"]) for row in mine]
                    axes.plot(done, accuracy, marker=".", color=colour, label=label)
                    label = "_" + cell  # one entry in the legend for all seeds
        axes.set(title=title, xlim=(0, None))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
        legend(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    for axes in panels[-1]:
        axes.set_xlabel("step")
    return figure


@styled
def prediction(rows: Sequence[Row]) -> Figure:
    """Draw each run where the rule sees it, by movement and weakest signal of its layers, and what came of it."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    seen = [row for row in rows if row["movement"] and row["learned"]]
    for predicted, colour in (("yes", COLOURS[2]), ("seed", COLOURS[4]), ("no", COLOURS[1])):
        for learned, marker in (("yes", "o"), ("no", "X")):
            mine = [row for row in seen if (row["predicted"], row["learned"]) == (predicted, learned)]
            if mine:
                moved, signal = ([float(row[key]) for row in mine] for key in ("movement", "weakest_signal"))
                said = "left to the seed" if predicted == "seed" else f"predicted {predicted}"
                label = f"{said}: {len(mine)} {'learned' if learned == 'yes' else 'did not learn'}"
                axes.scatter(moved, signal, s=60, color=colour, marker=marker, alpha=0.7, label=label)
    axes.axvline(1, color="0.4", linestyle="--", linewidth=1)
    for rate in sorted({float(row["optimizer.lr"]) for row in seen if row["optimizer.name"] == "adam"}):
        axes.axhline(rate, color="0.4", linestyle="--", linewidth=1)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="movement: steps x (first step / weights x share of inputs that differ), summed over layers",
        ylabel="weakest signal of a layer before training",
        title="Prediction before training and what came of it; a mark a run\n"
        "Dashed: a movement of 1, and Adam's learning rate",
    )
    axes.grid(alpha=0.3)
    legend(axes)
    return figure


def legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
