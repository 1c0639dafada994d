"""Figures need no backend and no settings of the user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRAW = """
import sys
from pathlib import Path
from src.base.plot_style import save, styled
from matplotlib.figure import Figure

@styled
def draw():
    figure = Figure(layout="constrained")
    figure.subplots().plot([1, 2], label="line")
    figure.legend()
    return figure

save(draw(), Path(sys.argv[1]))
"""
BROKEN_SETTINGS = (
    "backend: nonsense\nfigure.facecolor: red\nfont.size: 30\nthis is no line\naxes.prop_cycle: 5\nsavefig.dpi: 7\n"
)


def draw(folder: Path, **variables: str) -> bytes:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())} | variables
    result = subprocess.run(
        [sys.executable, "-c", DRAW, "figure.png"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return (folder / "figure.png").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return draw(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", "TkAgg", "svg", ""])
def test_no_backend_of_a_notebook_is_needed(tmp_path: Path, expected: bytes, backend: str) -> None:
    """Colab, Kaggle and Jupyter export MPLBACKEND for a package that .venv lacks."""
    assert draw(tmp_path, MPLBACKEND=backend) == expected


@pytest.mark.parametrize("place", ["current folder", "MATPLOTLIBRC", "MPLCONFIGDIR"])
def test_no_matplotlibrc_changes_a_figure(tmp_path: Path, expected: bytes, place: str) -> None:
    (tmp_path / "work").mkdir()
    folder = tmp_path / "work" if place == "current folder" else tmp_path
    (folder / "matplotlibrc").write_text(BROKEN_SETTINGS, encoding="utf-8")
    variables = {} if place == "current folder" else {place: str(tmp_path)}
    assert draw(tmp_path / "work", **variables) == expected
