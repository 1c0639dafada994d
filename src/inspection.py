"""How signal and gradient pass through a network at the start of training, layer by layer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src import figures
from src.dataset import Dataset
from src.files import write_csv, write_text
from src.images import prepare
from src.optimization import Eps
from src.params import Part
from src.seeding import generator_of
from src.vgg import VGG

IMAGES = 32
"""Enough for the statistics to settle and few enough for seconds on a CPU at 224 pixels."""


class OptimizerPart(Part):
    """What counts here of `optimizer` of params.yaml."""

    eps: Eps


class LayerSignal(NamedTuple):
    """Of one layer, all before the ReLU.

    Attributes:
        activation_std: standard deviation of its outputs.
        gradient_rms: of its weights' gradient.
        weight_rms: of its weights.
        image_share: the part of its outputs that differs between images, 0..1: the standard deviation of an output
            over the images as a share of its RMS, both as RMS over all outputs. The rest, biases passed on, is the same
            for each image: an activation can be large and say nothing.
    """

    layer: str
    activation_std: float
    gradient_rms: float
    weight_rms: float
    image_share: float


def batch(train: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """The images that every network is inspected with, float32 [32, 3, crop, crop], and their labels."""
    drawn = torch.randperm(len(train), generator=generator_of(seed))[:IMAGES]
    return prepare(train.images[drawn], train.format), train.labels[drawn]


def inspect(network: VGG, images: Tensor, labels: Tensor) -> list[LayerSignal]:
    """One forward and backward pass of the mean cross-entropy, without dropout.

    Adam divides a gradient by its running RMS plus eps: where the RMS is far below eps, the weights stand still.

    Args:
        images: float32 [B, 3, crop, crop].
        labels: int64 [B].

    Returns:
        a row for each convolution and fully connected layer, from the first to the last. Statistics are float64.
    """
    network.eval()
    network.zero_grad()
    signals: list[tuple[float, float]] = []
    outputs = images
    for layer in network:
        outputs = layer(outputs)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            signals.append(_signal(outputs.detach()))
    F.cross_entropy(outputs, labels).backward()  # type: ignore[no-untyped-call]
    layers = [(name, layer) for name, layer in network.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [
        LayerSignal(name, deviation, _rms(layer.weight.grad), _rms(layer.weight.detach()), share)
        for (name, layer), (deviation, share) in zip(layers, signals, strict=True)
    ]


def below(rows: Sequence[LayerSignal], eps: float) -> int:
    """How many layers have a gradient RMS below `eps`."""
    return sum(row.gradient_rms < eps for row in rows)


def report(folder: Path, signals: Mapping[str, Sequence[LayerSignal]], eps: float) -> None:
    """Print and write what was measured of one or two networks, by name.

    - layers.csv: a line a layer
    - layers.png: the same as a picture
    - metrics.json: how many layers there are, and how many have a gradient RMS below `eps`
    """
    for name, rows in signals.items():
        print(f"{_label(name)}: gradient RMS below eps ({eps:g}) in {below(rows, eps)} of {len(rows)} layers")
    table = [(name, *row) for name, rows in signals.items() for row in rows]
    write_csv(folder / "layers.csv", [("network", *LayerSignal._fields), *table])
    pictured = {_label(name): [row[:3] for row in rows] for name, rows in signals.items()}
    figures.save(figures.layers(pictured, eps), folder / "layers.png")
    metrics = {name: {"layers": len(rows), "layers_below_eps": below(rows, eps)} for name, rows in signals.items()}
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")


def _label(name: str) -> str:
    return name.replace("vgg", "VGG").replace("_", " ")


def _signal(outputs: Tensor) -> tuple[float, float]:
    """The standard deviation of outputs [B, …], and the share of them that differs between images."""
    values = outputs.double()
    share = _rms(values.std(dim=0, correction=0)) / (_rms(values) or 1.0)
    return float(values.std(correction=0)), share


def _rms(values: Tensor | None) -> float:
    return 0.0 if values is None else float(values.double().square().mean().sqrt())
