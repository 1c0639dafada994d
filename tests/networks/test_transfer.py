"""What VGG16 takes over from VGG11."""

from typing import Any, get_args

import pytest
import torch

from src.base.errors import InputError
from src.networks.initialization import build
from src.networks.transfer import Transfer, layers_to_copy, transfer_layers
from src.networks.vgg import VGG, Letter
from tests.conftest import FORMAT


def network(column: Letter, seed: int) -> VGG:
    return build(column, FORMAT, seed=seed, init="none", init_std=0.01, dropout=0.5)


EXPECTED = {
    "none": set(),
    "paper": {"conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"},
    "all": {
        *("conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2"),
        *("fc6", "fc7", "fc8"),
    },
    "convolutions": {"conv1_1", "conv2_1", "conv3_1", "conv3_2"},
    "fully_connected": {"fc6", "fc7", "fc8"},
}


@pytest.mark.parametrize("which", get_args(Transfer))
def test_a_into_d(which: Transfer) -> None:
    source, target, before = network("A", 1), network("D", 2), network("D", 2)
    result = transfer_layers(source, target, which)
    assert set(result.copied) == EXPECTED[which]
    for name, weight in target.state_dict().items():
        layer = name.split(".")[0]
        assert (layer in result.copied) != (layer in result.kept)
        expected = source if layer in EXPECTED[which] else before
        assert torch.equal(weight, expected.state_dict()[name]), name
    if which == "paper":
        assert str(result).startswith("from the trained network: conv1_1 conv2_1 conv3_1 conv3_2 fc6 fc7 fc8;")


@pytest.mark.parametrize("column", ["A-LRN", "B", "C", "D", "E"])
@pytest.mark.parametrize("source", ["A", "A-LRN"])
def test_the_papers_transfer_fits_every_deeper_network(source: Letter, column: Letter) -> None:
    """Section 3.1. The 1 x 1 convolutions of C are newly drawn: A has no layer of their names."""
    with torch.device("meta"):
        shallow, deep = VGG(source, classes=10), VGG(column, classes=10)
    assert set(layers_to_copy(shallow, deep, "paper")) == EXPECTED["paper"]
    ones = {name for name, layer in deep.weight_layers.items() if layer.weight.shape[2:] == (1, 1)}
    assert ones == ({"conv3_3", "conv4_3", "conv5_3"} if column == "C" else set())
    assert not ones & set(layers_to_copy(shallow, deep, "all"))


def test_copies_are_independent_of_the_source() -> None:
    source, target = network("A", 1), network("D", 2)
    transfer_layers(source, target, "paper")
    source.get_parameter("fc6.weight").data.zero_()
    assert target.get_parameter("fc6.weight").any()


def test_layers_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match=r"transfer: paper: conv1_2 .* in A"):
        transfer_layers(network("B", 1), network("A", 2), "paper")


def test_fully_connected_layers_fit_whatever_the_convolutions() -> None:
    assert transfer_layers(network("B", 1), network("A", 2), "fully_connected").copied == ("fc6", "fc7", "fc8")
    with pytest.raises(InputError, match=r"transfer: convolutions: conv1_2 .* in A"):
        transfer_layers(network("B", 1), network("A", 2), "convolutions")


def test_an_unknown_transfer_is_refused() -> None:
    unknown: Any = "some"
    with pytest.raises(InputError, match=r"^transfer: 'some', expected one of none, paper, all, convolutions, fully_"):
        transfer_layers(network("A", 1), network("A", 2), unknown)
