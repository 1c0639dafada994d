"""The figures of an evaluation: what they show, and that equal data give equal bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from src.base import plot_style
from src.evaluation import figures

CLASSES = ("cat", "dog", "ship")
COUNTS = np.array([[5, 2, 0], [1, 7, 0], [0, 0, 11]])


def ordinates(line: Line2D) -> Any:
    return np.asarray(line.get_ydata(), dtype=np.float64).tolist()


def history(epochs: int) -> dict[str, np.ndarray]:
    steps = np.arange(1.0, epochs + 1)
    names = ("train/loss", "train/accuracy", "validation/loss", "validation/accuracy")
    return {name: np.stack([steps, steps / 10 + offset / 100], axis=1) for offset, name in enumerate(names)}


def gallery(count: int) -> Figure:
    """Images of different colours, each with a bright upper left quarter."""
    images = (torch.arange(count * 3) * 5).to(torch.uint8).reshape(count, 3, 1, 1).repeat(1, 1, 32, 32)
    images[:, :, :16, :16] += 120
    return figures.gallery(images, [f"automobile → airplane, {i}00.0%" for i in range(count)], "mistakes")


DRAW: dict[str, Callable[[], Figure]] = {
    "confusion_matrix": lambda: figures.confusion_matrix(COUNTS, CLASSES, "title"),
    "gallery": lambda: gallery(3),
    "gallery, empty": lambda: figures.gallery([], [], "no mistake"),
    "curves": lambda: figures.curves({"VGG11": history(4), "VGG16": history(3)}, 10),
    "curves, one epoch": lambda: figures.curves({"VGG11": history(1)}, 10),
}


@pytest.mark.parametrize("name", DRAW)
def test_png_is_the_same_on_each_run_whatever_the_users_style(name: str, tmp_path: Path) -> None:
    plot_style.save(DRAW[name](), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 300, "lines.linewidth": 5}):
        plot_style.save(DRAW[name](), tmp_path / "b.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert b"Software" not in content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_confusion_matrix_has_the_true_classes_as_rows() -> None:
    axes = DRAW["confusion_matrix"]().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted class", "true class", "title")
    assert tuple(label.get_text() for label in axes.get_xticklabels()) == CLASSES
    assert tuple(label.get_text() for label in axes.get_yticklabels()) == CLASSES
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(x, y): str(COUNTS[y, x]) for x in range(3) for y in range(3)}
    assert axes.yaxis_inverted()  # the first class on top


def test_confusion_matrix_of_a_class_without_images() -> None:
    counts = np.array([[0, 0], [1, 3]])
    shares = figures.confusion_matrix(counts, ("cat", "dog"), "").axes[0].images[0].get_array()
    assert shares is not None
    assert shares.tolist() == [[0, 0], [0.25, 0.75]]


@pytest.mark.parametrize("count", [1, 5, 6, 25])
def test_gallery_shows_each_image_whole_under_its_caption(count: int) -> None:
    figure = gallery(count)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    tiles, captions = ([part.get_window_extent() for part in parts] for parts in (axes.images, axes.texts))
    assert [text.get_text() for text in axes.texts] == [f"automobile → airplane, {i}00.0%" for i in range(count)]
    assert {image.get_interpolation() for image in axes.images} == {"nearest"}
    for tile, caption in zip(tiles, captions, strict=True):
        assert tile.width == pytest.approx(tile.height)
        assert (caption.x0 + caption.x1) / 2 == pytest.approx((tile.x0 + tile.x1) / 2)
        assert 0 < caption.y0 - tile.y1 < 0.1 * tile.height
    boxes = [*tiles, *captions]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    assert all(figure.bbox.contains(x, y) for box in boxes for x, y in (box.min, box.max))


def test_gallery_is_read_from_left_to_right_and_its_images_are_upright() -> None:
    figure = gallery(7)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[::-1, :, :3]  # from the lowest line up, as positions count
    tiles = [image.get_window_extent() for image in figure.axes[0].images]
    for index, tile in enumerate(tiles):
        assert round((tile.x0 - tiles[0].x0) / (tiles[1].x0 - tiles[0].x0)) == index % 5
        assert round((tiles[0].y0 - tile.y0) / (tiles[0].y0 - tiles[5].y0)) == index // 5
        colour = np.arange(3 * index, 3 * index + 3) * 5
        for x, y, brighter in ((0.25, 0.75, 120), (0.75, 0.75, 0), (0.25, 0.25, 0), (0.75, 0.25, 0)):
            pixel = picture[int(tile.y0 + y * tile.height), int(tile.x0 + x * tile.width)]
            assert pixel.tolist() == (colour + brighter).tolist()


def test_gallery_shows_red_as_red() -> None:
    red = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    red[:, 0] = 255
    pixels = figures.gallery(red, ["red"], "").axes[0].images[0].get_array()
    assert pixels is not None
    assert pixels.shape == (32, 32, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]


def test_gallery_without_images_is_a_line_of_text() -> None:
    figure = DRAW["gallery, empty"]()
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == ["no mistake"]


def test_curves_by_network_and_split() -> None:
    loss, accuracy = DRAW["curves"]().axes
    lines = {line.get_label(): line for line in accuracy.lines}
    assert list(lines) == [
        "VGG11, train",
        "VGG11, validation",
        "VGG16, train",
        "VGG16, validation",
        "chance",
    ]
    assert [line.get_linestyle() for line in accuracy.lines] == ["--", "-", "--", "-", ":"]
    assert lines["VGG11, train"].get_color() == lines["VGG11, validation"].get_color()
    assert lines["VGG11, train"].get_color() != lines["VGG16, train"].get_color()
    np.testing.assert_array_equal(lines["VGG16, validation"].get_xdata(), [1, 2, 3])
    assert ordinates(lines["VGG16, validation"]) == pytest.approx([0.13, 0.23, 0.33])
    assert ordinates(lines["chance"]) == pytest.approx([0.1, 0.1])
    assert ordinates(loss.lines[-1]) == pytest.approx([np.log(10)] * 2)
    assert (loss.get_xlabel(), accuracy.get_xlabel()) == ("epoch", "epoch")
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss (mean cross-entropy)", "accuracy")


def test_curves_ticks_are_whole_epochs() -> None:
    for epochs in (1, 2, 40):
        axes = figures.curves({"VGG11": history(epochs)}, 10).axes[0]
        left, right = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
        assert ticks
        assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)
