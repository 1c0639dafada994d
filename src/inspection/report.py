"""What the inspect stages print and write: a table, a figure and a count of layers below Adam's eps."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.base.files import write_csv, write_text
from src.base.params import Eps, Part
from src.base.plot_style import NETWORK_COLOURS, NETWORK_MARKERS, save, styled
from src.inspection.signals import LayerSignal


class OptimizerPart(Part):
    """The key of `optimizer` of params.yaml that matters here."""

    eps: Eps


def report(folder: Path, signals: Mapping[str, Sequence[LayerSignal]], titles: Mapping[str, str], eps: float) -> None:
    """Write and print the measurements of one or two networks, by their keys in metrics.json.

    - layers.csv: one row per layer
    - layers.png: the same as a figure
    - metrics.json: the number of layers, and how many of them have a gradient RMS below `eps`

    Args:
        titles: of the networks in the figure.
    """
    table = [(name, *row) for name, rows in signals.items() for row in rows]
    write_csv(folder / "layers.csv", [("network", *LayerSignal._fields), *table])
    save(draw_layers({titles[name]: rows for name, rows in signals.items()}, eps), folder / "layers.png")
    metrics = {
        name: {"layers": len(rows), "layers_below_eps": layers_below(rows, eps)} for name, rows in signals.items()
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    for name, rows in signals.items():
        below = layers_below(rows, eps)
        print(f"{titles[name]}: gradient RMS below eps ({eps:g}) in {below} of {len(rows)} layers")


def layers_below(rows: Sequence[LayerSignal], eps: float) -> int:
    """How many layers have a gradient RMS below `eps`."""
    return sum(not row.gradient_rms >= eps for row in rows)  # nan counts


@styled
def draw_layers(rows: Mapping[str, Sequence[LayerSignal]], eps: float) -> Figure:
    """Draw activations and gradients of each layer, of one or two networks, on logarithmic scales.

    Args:
        rows: by network. Zeros (underflow) are drawn as crosses on the bottom edge.
        eps: Adam's, drawn beside the gradients.
    """
    # Sorted, the paper's names are in the order of depth: conv1_1 … conv5_4, fc6, fc7, fc8.
    names = sorted({signal.layer for signals in rows.values() for signal in signals})
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    figure.suptitle("Signal and gradient of each layer before the first step of training")
    panels: tuple[Axes, Axes] = tuple(figure.subplots(2, 1, sharex=True))
    panels[0].set_ylabel("standard deviation of activations")
    panels[1].set_ylabel("RMS of weight gradients")
    panels[1].axhline(eps, color="0.4", linestyle="--", label=f"Adam's eps ({eps:g}): below it, weights hardly move")
    panels[1].set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    for axes, column in zip(panels, ("activation_std", "gradient_rms"), strict=True):
        lines = {
            network: [(names.index(row.layer), float(getattr(row, column))) for row in signals]
            for network, signals in rows.items()
        }
        _log_lines(axes, lines, eps)
        axes.legend()
        axes.grid(alpha=0.3)
    return figure


def _log_lines(axes: Axes, lines: Mapping[str, Sequence[tuple[int, float]]], shown: float) -> None:
    """Draw one line per network through (x, y >= 0), on a logarithmic scale with room for the value `shown`."""
    values = [shown, *(y for points in lines.values() for _, y in points)]
    bottom = min((value for value in values if 0 < value < math.inf), default=1.0) / 100
    axes.set_yscale("log")
    for (network, points), colour, marker in zip(lines.items(), NETWORK_COLOURS, NETWORK_MARKERS, strict=False):
        axes.plot(*zip(*((x, y or bottom) for x, y in points), strict=True), marker=marker, color=colour, label=network)
    zeros = [x for points in lines.values() for x, y in points if y == 0]
    if zeros:
        axes.plot(zeros, [bottom] * len(zeros), "kX", markersize=9, clip_on=False, zorder=3, label="exactly 0")
        axes.set_ylim(bottom=bottom)
