"""The figure of signal and gradient by layer."""

from pathlib import Path

import numpy as np
import pytest

from src.base.plot_style import save
from src.inspection.report import draw_layers
from src.inspection.signals import LayerSignal


def signal(layer: str, activation_std: float, gradient_rms: float) -> LayerSignal:
    return LayerSignal(layer, activation_std, gradient_rms, weight_rms=0.01, image_share=1.0)


SIGNALS = {
    "VGG11": [signal("conv1_1", 1e-2, 1e-6), signal("conv2_1", 1e-3, 1e-7), signal("fc8", 1e-6, 1e-7)],
    "VGG16": [
        signal("conv1_1", 1e-2, 1e-9),
        signal("conv1_2", 1e-4, 0.0),
        signal("conv2_1", 1e-6, 0.0),
        signal("fc8", 0.0, 1e-10),
    ],
}


def test_layers_are_in_the_order_of_depth_and_zeros_are_marked() -> None:
    signal, gradient = draw_layers(SIGNALS, 1e-8).axes
    assert [label.get_text() for label in gradient.get_xticklabels()] == ["conv1_1", "conv1_2", "conv2_1", "fc8"]
    assert (signal.get_yscale(), gradient.get_yscale()) == ("log", "log")
    lines = {line.get_label(): line for line in gradient.lines}
    np.testing.assert_array_equal(lines["VGG11"].get_xdata(), [0, 2, 3])
    np.testing.assert_array_equal(lines["VGG16"].get_xdata(), [0, 1, 2, 3])
    np.testing.assert_array_equal(lines["exactly 0"].get_xdata(), [1, 2])
    bottom = gradient.get_ylim()[0]
    assert 0 < bottom < 1e-10
    np.testing.assert_array_equal(lines["exactly 0"].get_ydata(), bottom)
    eps = next(line for label, line in lines.items() if str(label).startswith("Adam's eps (1e-08)"))
    np.testing.assert_array_equal(eps.get_ydata(), 1e-8)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e10, float("inf"), float("nan")])
def test_layers_of_extreme_networks(value: float, tmp_path: Path) -> None:
    rows = {
        "VGG11": [signal("conv1_1", value, value), signal("fc8", value, value)],
        "VGG16": [signal("conv1_1", 1e-3, 0.0)],
    }
    figure = draw_layers(rows, 1e-8)
    save(figure, tmp_path / "layers.png")
    bottom, top = figure.axes[1].get_ylim()
    assert 0 < bottom < 1e-8 < top < float("inf")


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(draw_layers(SIGNALS, 1e-8), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
