"""The pictures of the results, as PNG files: equal data give equal bytes.

Figures are plain objects (no pyplot, no window). They are drawn in Matplotlib's own default style, whatever the
user's matplotlibrc says.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from src.files import whole

COLOURS = ("#0072B2", "#D55E00")
"""Of the first and the second network: blue and vermilion, which colour-blind readers can tell apart."""
MARKERS = ("o", "s")
GALLERY_COLUMNS = 5

styled = matplotlib.style.context(["default", {"font.size": 10, "axes.titlesize": 11, "figure.titlesize": 12}])


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file of 120 dots an inch."""
    with whole(path) as temporary:
        # The version of Matplotlib, which it would put in the file, is no part of the result.
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})


@styled
def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Draw counts [true class, predicted class]; a cell's colour is its share of the images of its true class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class", format=PercentFormatter(1))
    bar.outline.set_visible(False)
    return figure


@styled
def gallery(images: Iterable[Tensor], captions: Sequence[str], title: str) -> Figure:
    """Draw images, uint8 [K, 3, H, W], five a row, each under its caption; the title alone where there are none."""
    if not captions:
        figure = Figure(figsize=(8, 1))
        figure.text(0.5, 0.5, title, ha="center", va="center", fontsize="large")
        return figure
    rows = math.ceil(len(captions) / GALLERY_COLUMNS)
    figure = Figure(figsize=(10, 0.35 + 2.2 * rows), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots()  # one for all, an image a unit wide: axes for each take 0.7 s longer
    axes.set_axis_off()
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, GALLERY_COLUMNS)
        left, top = 1.05 * column, 1.15 * row
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest", extent=(left, left + 1, top + 1, top))
        axes.text(left + 0.5, top - 0.03, caption, ha="center", va="bottom", fontsize="small")
    axes.set(xlim=(0, 1.05 * GALLERY_COLUMNS - 0.05), ylim=(1.15 * rows - 0.15, -0.15))
    return figure


@styled
def curves(histories: Mapping[str, Mapping[str, NDArray[np.float64]]], classes: int) -> Figure:
    """Draw loss and accuracy by epoch, of one or two networks, beside what guessing among `classes` would give.

    Args:
        histories: by network, by DVCLive's name ("train/loss", "validation/accuracy", …): [epochs, 2], the epoch,
            from 1, and the value; accuracy in 0..1.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("Loss and accuracy by epoch, on training images (dashed) and validation images (solid)")
    panels: tuple[Axes, Axes] = tuple(figure.subplots(1, 2))
    epochs = np.concatenate([values[:, 0] for history in histories.values() for values in history.values()])
    for axes, metric, chance in zip(panels, ("loss", "accuracy"), (math.log(classes), 1 / classes), strict=True):
        for (network, history), colour in zip(histories.items(), COLOURS, strict=False):
            for split, line in (("train", "--"), ("validation", "-")):
                axes.plot(*history[f"{split}/{metric}"].T, line, marker=".", color=colour, label=f"{network}, {split}")
        axes.axhline(chance, color="0.4", linestyle=":", label="chance")
        axes.set(xlabel="epoch", xlim=(epochs.min() - 0.5, epochs.max() + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="loss (mean cross-entropy)", ylim=(0, None))
    panels[1].set(ylabel="accuracy", ylim=(0, 1.02))
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


@styled
def layers(rows: Mapping[str, Sequence[tuple[str, float, float]]], eps: float) -> Figure:
    """Draw the signal and the gradient of each layer, of one or two networks, on logarithmic scales.

    Args:
        rows: by network: the layer's name, the standard deviation of its activations, the RMS of its weights'
            gradients. Zeros (underflow) lie on the bottom edge, as crosses.
        eps: Adam's, drawn beside the gradients.
    """
    # Sorted, the paper's names are in the order of depth: conv1_1 … conv5_4, fc6, fc7, fc8.
    names = sorted({name for signals in rows.values() for name, *_ in signals})
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    figure.suptitle("Signal and gradient of each layer before the first step of training")
    panels: tuple[Axes, Axes] = tuple(figure.subplots(2, 1, sharex=True))
    panels[0].set_ylabel("standard deviation of activations")
    panels[1].set_ylabel("RMS of weight gradients")
    panels[1].axhline(eps, color="0.4", linestyle="--", label=f"Adam's eps ({eps:g}): below it, weights hardly move")
    panels[1].set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    for axes, column in zip(panels, (1, 2), strict=True):
        lines = {network: [(names.index(row[0]), float(row[column])) for row in rows[network]] for network in rows}
        _log_lines(axes, lines, eps)
        axes.legend()
        axes.grid(alpha=0.3)
    return figure


def _log_lines(axes: Axes, lines: Mapping[str, Sequence[tuple[int, float]]], shown: float) -> None:
    """Draw a line a network through (x, y >= 0) on a logarithmic scale that has room for the value `shown` too."""
    values = [shown, *(y for points in lines.values() for _, y in points)]
    bottom = min((value for value in values if 0 < value < math.inf), default=1.0) / 100
    axes.set_yscale("log")
    for (network, points), colour, marker in zip(lines.items(), COLOURS, MARKERS, strict=False):
        axes.plot(*zip(*((x, y or bottom) for x, y in points), strict=True), marker=marker, color=colour, label=network)
    zeros = [x for points in lines.values() for x, y in points if y == 0]
    if zeros:
        axes.plot(zeros, [bottom] * len(zeros), "kX", markersize=9, clip_on=False, zorder=3, label="exactly 0")
        axes.set_ylim(bottom=bottom)
