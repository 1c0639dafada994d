"""The initial weights against the published variances."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from src.base.errors import InputError
from src.networks.initialization import Init, build, initialize
from src.networks.vgg import VGG, Letter
from tests.conftest import FORMAT


def network(init: Init, init_std: float = 0.01, seed: int = 0, letter: Letter = "A") -> VGG:
    return build(letter, FORMAT, seed=seed, init=init, init_std=init_std, dropout=0.5)


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
    for name, layer in network(init, init_std=0.03).named_children():
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


@pytest.mark.parametrize(
    ("init", "init_std", "message"),
    [
        ("he", 0.01, "init: 'he', expected one of normal, none, xavier, kaiming"),
        ("Normal", 0.01, "init: 'Normal', expected one of"),
        (None, 0.01, "init: None, expected one of"),
        ("normal", 0.0, "init_std: 0.0, expected a number above 0 and up to 1"),
        ("normal", -0.01, "init_std: -0.01, expected"),
        ("normal", math.nan, "init_std: nan, expected"),
        ("normal", math.inf, "init_std: inf, expected"),
    ],
)
def test_other_ways_are_refused(init: Any, init_std: float, message: str) -> None:
    layer = nn.Linear(3, 3)
    before = layer.weight.clone()
    with pytest.raises(InputError, match=f"^{message}"):
        initialize(layer, init, init_std)
    assert torch.equal(layer.weight, before)
