"""The initialisations, and what they do to signal and gradient."""

import math

import pytest
import torch
from torch import nn

from src.images import prepare
from src.initialization import Init, build
from src.inspection import below, inspect
from src.vgg import VGG, Column
from tests.conftest import FORMAT, coloured_squares


def network(init: Init, std: float = 0.01, seed: int = 0, column: Column = "A") -> VGG:
    return build(column, FORMAT, seed=seed, init=init, std=std, dropout=0.5)


def fans(layer: nn.Module) -> tuple[int, int]:
    weight = layer.get_parameter("weight")
    field = weight[0, 0].numel()
    return weight.shape[1] * field, weight.shape[0] * field


# Variance of the weights as a function of fan-in and fan-out, from the papers.
VARIANCE = {
    "normal": lambda fan_in, fan_out: 0.03**2,
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "kaiming": lambda fan_in, fan_out: 2 / fan_in,
    "none": lambda fan_in, fan_out: 1 / (3 * fan_in),
}


@pytest.mark.parametrize("init", VARIANCE)
def test_weights_have_the_published_variance(init: Init) -> None:
    for name, layer in network(init, std=0.03).named_children():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        expected = VARIANCE[init](*fans(layer))
        count = layer.weight.numel()
        assert layer.weight.var().item() == pytest.approx(expected, rel=6 / math.sqrt(count)), name
        assert abs(layer.weight.mean().item()) < 5 * math.sqrt(expected / count), name
        assert layer.bias is not None
        assert bool(layer.bias.any()) == (init == "none"), name


def test_none_is_the_frameworks_own() -> None:
    own = nn.Linear(512, 4096)
    bound = 1 / math.sqrt(512)
    weights = network("none").get_parameter("fc6.weight")
    for tensor in (own.weight, weights):
        assert 0.99 * bound < tensor.abs().max().item() <= bound


def test_the_seed_decides_the_weights() -> None:
    torch.manual_seed(77)
    first = network("kaiming").state_dict()
    torch.manual_seed(78)
    again, other = network("kaiming").state_dict(), network("kaiming", seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc8.weight"], other["fc8.weight"])


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
    assert below(inspect(network("normal", column="D"), images, labels), 1e-8) == 16
    assert below(inspect(network("normal", column="A"), images, labels), 1e-8) < 11
    assert below(inspect(network("kaiming", column="D"), images, labels), 1e-8) == 0
