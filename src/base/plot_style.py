"""The style of all figures. Equal data give equal bytes, whatever the user's matplotlibrc says.

Figures are plain `Figure` objects: no pyplot, no window.
"""

from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from src.base.files import atomic_write

NETWORK_COLOURS = ("#0072B2", "#D55E00")
"""Of the first and the second network: blue and vermilion, which colour-blind readers can tell apart."""
NETWORK_MARKERS = ("o", "s")

styled = matplotlib.style.context(["default", {"font.size": 10, "axes.titlesize": 11, "figure.titlesize": 12}])
"""Decorator of functions that draw or save a figure."""


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file with 120 dots per inch."""
    with atomic_write(path) as temporary:
        # Matplotlib would write its version into the file. The version is not a result.
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
