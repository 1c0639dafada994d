"""The style of all figures. Equal data give equal bytes, whatever the user's settings of Matplotlib are.

Figures are plain `Figure` objects: no pyplot, no window, no backend.
"""

import os
from pathlib import Path

# A notebook exports MPLBACKEND for a package that this environment may lack. Matplotlib would fail when it is loaded.
os.environ["MPLBACKEND"] = "agg"
os.environ.pop("FREETYPE_PROPERTIES", None)  # it would change how text is drawn

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
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
    canvas = FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        # Matplotlib would write its version into the file. The version is not a result.
        canvas.print_figure(temporary, format="png", dpi=120, metadata={"Software": None})
