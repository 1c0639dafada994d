"""The figures of an evaluation: confusion matrix, gallery of mistakes, curves of loss and accuracy."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from src.base.errors import InputError
from src.base.plot_style import NETWORK_COLOURS, styled
from src.base.tensors import check

GALLERY_COLUMNS = 5


@styled
def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Draw counts, int64 [true class, predicted class]. The colour of a cell is its share of its true class.

    Raises:
        InputError: the counts are something else, or negative.
    """
    check("counts", counts, "int64", (len(classes), len(classes)), array=np.ndarray, hint="one row per true class")
    if counts.min() < 0:
        raise InputError(f"counts: {counts.min()}, expected no negative number")
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
    """Draw images, uint8 [K, 3, H, W], five per row, each under its caption. Without images, draw only the title.

    Raises:
        InputError: the images are something else, or there is not one caption per image.
    """
    images = list(images)
    for image in images:
        check("image", image, "uint8", (3, "H", "W"), limits="in 0..255")
    if len(images) != len(captions):
        raise InputError(f"gallery: {len(images)} images and {len(captions)} captions, expected one caption per image")
    if not images:
        figure = Figure(figsize=(8, 1))
        figure.text(0.5, 0.5, title, ha="center", va="center", fontsize="large")
        return figure
    rows = math.ceil(len(captions) / GALLERY_COLUMNS)
    figure = Figure(figsize=(10, 0.35 + 2.2 * rows), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots()  # one for all images, each one unit wide: one per image takes 0.7 s longer
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
    """Draw loss and accuracy by epoch, of one or two networks, with the values of guessing among `classes`.

    Args:
        histories: by network and by DVCLive's name ("train/loss", "validation/accuracy", …), a table [epochs, 2]. The
            columns are the epoch, from 0 or 1, and the value. Accuracy is in 0..1.

    Raises:
        InputError: a history is something else.
    """
    for network, history in histories.items():
        for name, values in history.items():
            check(f"{network}, {name}", values, "float64", ("epochs", 2), array=np.ndarray)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("Loss and accuracy by epoch, on training images (dashed) and validation images (solid)")
    panels: tuple[Axes, Axes] = tuple(figure.subplots(1, 2))
    epochs = np.concatenate([values[:, 0] for history in histories.values() for values in history.values()])
    for axes, metric, chance in zip(panels, ("loss", "accuracy"), (math.log(classes), 1 / classes), strict=True):
        for (network, history), colour in zip(histories.items(), NETWORK_COLOURS, strict=False):
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
