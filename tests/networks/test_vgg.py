"""The six networks against the paper's table 2 and torchvision's implementation."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from src.base.errors import InputError
from src.networks.vgg import TABLE_1, VGG, Letter, LocalResponseNorm

# Millions, from the shapes of table 1; table 2 of the paper rounds them to 133, 133, 133, 134, 138, 144.
MILLIONS = {"A": 132.86, "A-LRN": 132.86, "B": 133.05, "C": 133.64, "D": 138.36, "E": 143.67}


@pytest.mark.parametrize(("column", "millions"), MILLIONS.items())
def test_parameters_of_table_2(column: Letter, millions: float) -> None:
    with torch.device("meta"):
        network = VGG(column, classes=1000, image_size=224)
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("column", "layers"), {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}.items())
def test_weight_layers_of_table_1(column: Letter, layers: int) -> None:
    with torch.device("meta"):
        network = VGG(column, classes=10)
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network) == layers


@pytest.mark.parametrize("column", ["A", "B", "D", "E"])
def test_outputs_are_torchvisions(column: Letter) -> None:
    name = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}[column]
    torch.manual_seed(0)
    # 64 pixels instead of 224: torchvision then averages each value of its 2 x 2 maps into 7 x 7, so its pooling
    # and the inputs of its first fully connected layer are fitted here.
    reference = getattr(torchvision.models, name)(num_classes=10)
    reference.avgpool = nn.Identity()
    reference.classifier[0] = nn.Linear(512 * 2 * 2, 4096)
    network = VGG(column, classes=10, image_size=64).eval()
    for weight, other in zip(network.parameters(), reference.parameters(), strict=True):
        weight.data.copy_(other.data)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), reference.eval()(images))


def test_full_size_is_torchvisions() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.vgg11().eval()
    with torch.device("meta"):
        network = VGG("A", classes=1000)
    weights = dict(zip(network.state_dict(), reference.state_dict().values(), strict=True))
    network.load_state_dict(weights, assign=True)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(images), reference(images))


def test_names_are_the_papers() -> None:
    with torch.device("meta"):
        names = [name for name, layer in VGG("C", classes=10).named_children() if isinstance(layer, nn.Conv2d)]
        sizes = {name: VGG("C", classes=10).get_submodule(name).kernel_size for name in ("conv3_2", "conv3_3")}
    deep = [f"conv{block}_{index}" for block in (3, 4, 5) for index in (1, 2, 3)]
    assert names == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", *deep]
    assert sizes == {"conv3_2": (3, 3), "conv3_3": (1, 1)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(
            ({"image_size": size}, f"image_size: {size}, expected a multiple of 32")
            for size in (0, -32, 16, 100, 224.0)
        ),
        *(({"classes": classes}, f"classes: {classes}, expected a whole number from 1") for classes in (0, -1, 2.5)),
        *(
            ({"dropout": share}, f"dropout: {share}, expected a number from 0 to below 1")
            for share in (-0.1, 1, math.nan)
        ),
        *(
            ({"network": name}, f"network: '{name}', expected one of A, A-LRN, B, C, D, E")
            for name in ("F", "a", "VGG16")
        ),
    ],
)
def test_impossible_networks_are_refused(values: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"network": "A", "classes": 10} | values
    with pytest.raises(InputError, match=f"^VGG: {message}$"), torch.device("meta"):
        VGG(arguments.pop("network"), **arguments)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("compiled", [False, True])
def test_logits_are_float32_under_autocast(dtype: torch.dtype, compiled: bool) -> None:
    """In bf16, 1000 logits of about the same size would have about 100 different values."""
    torch.manual_seed(0)
    network, seen = VGG("A", classes=1000, image_size=32).eval(), list[Tensor]()
    layer = network.weight_layers["fc8"]
    layer.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    run = torch.compile(network, backend="aot_eager", fullgraph=True) if compiled else network
    with torch.no_grad(), torch.autocast("cpu", dtype):
        logits = run(torch.randn(2, 3, 32, 32))
    inputs = seen[-1]
    assert (inputs.dtype, logits.dtype) == (dtype, torch.float32)
    assert layer.bias is not None
    exact = inputs.double() @ layer.weight.double().T + layer.bias.double()
    torch.testing.assert_close(logits.double(), exact, rtol=1e-6, atol=1e-6)
    assert all(len(row.unique()) > 990 for row in logits)


def test_without_autocast_the_last_layer_is_an_ordinary_one() -> None:
    torch.manual_seed(0)
    layer, inputs = VGG("A", classes=10, image_size=32).weight_layers["fc8"], torch.randn(4, 4096)
    assert torch.equal(layer(inputs), F.linear(inputs, layer.weight, layer.bias))
    assert layer.double()(inputs.double()).dtype == torch.float64
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_dropout_follows_fc6_and_fc7() -> None:
    with torch.device("meta"):
        network = VGG("A", classes=10, image_size=32, dropout=0.3)
    names = [name for name, _ in network.named_children()]
    assert names[names.index("fc6") :] == ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.3, 0.3]


def test_lrn_is_the_cited_formula() -> None:
    """b = a / (k + alpha * sum of a^2 over the 5 nearest channels)^beta, Krizhevsky et al. (2012), section 3.3."""
    a = torch.randn(2, 7, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 50
    expected = torch.empty_like(a)
    for i in range(7):
        neighbours = a[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = a[:, i] / (2 + 1e-4 * neighbours.square().sum(dim=1)) ** 0.75
    torch.testing.assert_close(LocalResponseNorm()(a), expected, rtol=1e-6, atol=0)
    same = nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)(a)
    torch.testing.assert_close(expected, same)


def test_only_a_lrn_normalises() -> None:
    with torch.device("meta"):
        normalising = [c for c in TABLE_1 if any(isinstance(m, LocalResponseNorm) for m in VGG(c, classes=10))]
    assert normalising == ["A-LRN"]
