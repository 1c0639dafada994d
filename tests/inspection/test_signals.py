"""Signal and gradient by layer, against hooks and autograd."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from src.base.errors import InputError
from src.images.transforms import prepare
from src.inspection.report import layers_below
from src.inspection.signals import inspect
from src.networks.initialization import Init, build
from src.networks.vgg import VGG, Letter
from tests.conftest import FORMAT, coloured_squares


def network(init: Init, letter: Letter = "A") -> VGG:
    return build(letter, FORMAT, seed=0, init=init, init_std=0.01, dropout=0.5)


def test_signals_are_those_of_hooks_and_autograd() -> None:
    data = coloured_squares(4)
    images, labels = prepare(data.images, data.format), data.labels
    tested, reference = network("kaiming"), network("kaiming").eval()
    rows = {row.layer: row for row in inspect(tested, images, labels)}

    seen = {}
    for name, layer in reference.named_children():
        layer.register_forward_hook(
            lambda _layer, _inputs, output, name=name: seen.update({name: output.std(correction=0).item()})
        )
    nn.functional.cross_entropy(reference(images), labels).backward()
    assert list(rows) == [name for name in seen if name.startswith(("conv", "fc"))]
    for name, row in rows.items():
        gradient = reference.get_parameter(f"{name}.weight").grad
        assert gradient is not None
        assert row.activation_std == pytest.approx(seen[name], rel=1e-3)
        assert row.gradient_rms == pytest.approx(
            gradient.double().norm().item() / math.sqrt(gradient.numel()), rel=1e-9
        )


def test_the_share_that_differs_between_images() -> None:
    images = coloured_squares(4)
    pixels = prepare(images.images, images.format)[:2]
    tested = network("kaiming")

    def shares(*batch: torch.Tensor) -> list[float]:
        return [row.image_share for row in inspect(tested, torch.stack(batch), images.labels[:2])]

    assert shares(pixels[0], pixels[0]) == pytest.approx([0.0] * 11, abs=1e-6)  # the same twice
    mirrored = shares(pixels[0], -pixels[0])
    assert mirrored[0] == pytest.approx(1.0)  # a linear layer without biases: no part is common
    assert all(0 < share < 1 for share in mirrored[1:])
    nn.init.constant_(tested.get_parameter("fc8.bias"), 1e6)
    assert shares(pixels[0], -pixels[0]) == pytest.approx([*mirrored[:-1], 0.0], abs=1e-4)


def test_std_001_starves_vgg16_and_not_vgg11() -> None:
    """He et al. (2015), 2.2: with std 0.01 a network of more than eight convolutions hardly converges."""
    data = coloured_squares(8)
    images, labels = prepare(data.images, data.format), data.labels
    assert layers_below(inspect(network("normal", letter="D"), images, labels), 1e-8) == 16
    assert layers_below(inspect(network("normal", letter="A"), images, labels), 1e-8) < 11
    assert layers_below(inspect(network("kaiming", letter="D"), images, labels), 1e-8) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda images, labels: ((images * 255).byte(), labels),
            "images: uint8 [4, 3, 32, 32], expected float32 [B, 3, 3",
        ),
        (lambda images, labels: (images.double(), labels), "images: float64 [4, 3, 32, 32], expected float32"),
        (
            lambda images, labels: (images.permute(0, 2, 3, 1), labels),
            "images: float32 [4, 32, 32, 3], expected float32",
        ),
        (lambda images, labels: (images[0], labels), "images: float32 [3, 32, 32], expected float32"),
        (lambda images, labels: (images[:0], labels[:0]), "images: float32 [0, 3, 32, 32], expected float32"),
        (lambda images, labels: (images[..., :16], labels), "images: float32 [4, 3, 32, 16], expected float32"),
        (lambda images, labels: (images * math.inf, labels), "images: not all values are finite"),
        (lambda images, labels: (images, labels[:3]), "labels: int64 [3], expected int64 [4]"),
        (lambda images, labels: (images, labels.int()), "labels: int32 [4], expected int64 [4]"),
        (lambda images, labels: (images, labels + 7), "labels: 7..10, expected int64 in 0..9"),
    ],
)
def test_other_images_and_labels_are_refused(change: Callable[..., tuple[Tensor, Tensor]], message: str) -> None:
    data = coloured_squares(4)
    with pytest.raises(InputError) as error:
        inspect(network("none"), *change(prepare(data.images, data.format), data.labels))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
