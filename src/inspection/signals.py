"""Signal and gradient of each layer, measured in one forward and backward pass."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.base.errors import InputError
from src.base.tensors import check, check_labels
from src.compute.seeds import generator_of
from src.images.dataset import Dataset
from src.images.transforms import prepare
from src.networks.vgg import VGG

IMAGES = 32
"""Enough for stable statistics, and few enough for seconds on a CPU at 224 pixels."""


class LayerSignal(NamedTuple):
    """Statistics of one layer, all before the ReLU.

    Attributes:
        activation_std: standard deviation of its outputs.
        gradient_rms: RMS of the gradient of its weights.
        weight_rms: RMS of its weights.
        image_share: the share of its outputs that differs between images, 0..1: the standard deviation over the images
            divided by the RMS, both taken as RMS over all outputs. The rest comes from biases and is equal for all
            images. An activation can be large and carry no information about the image.
    """

    layer: str
    activation_std: float
    gradient_rms: float
    weight_rms: float
    image_share: float


def sample(train: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """The images for every inspection, float32 [32, 3, crop, crop], and their labels, int64 [32]."""
    drawn = torch.randperm(len(train), generator=generator_of("inspection", seed))[:IMAGES]
    return prepare(train.images[drawn], train.format), train.labels[drawn]


def inspect(network: VGG, images: Tensor, labels: Tensor) -> list[LayerSignal]:
    """Measure all layers in one forward and backward pass of the mean cross-entropy, without dropout.

    Adam divides a gradient by its running RMS plus eps. Where the RMS is far below eps, the weights stand still.

    Args:
        images: float32 [B, 3, crop, crop], finite.
        labels: int64 [B], in 0..classes-1.

    Returns:
        one row per convolution and fully connected layer, from the first to the last. Statistics are float64.

    Raises:
        InputError: images or labels are something else.
    """
    side = network.image_size
    check("images", images, "float32", ("B", 3, side, side), hint="`prepare` makes them from uint8 images")
    check_labels(labels, len(images), network.classes)
    if not images.isfinite().all():
        raise InputError("images: not all values are finite; `prepare` makes images from uint8 images")
    network.eval()
    network.zero_grad()
    signals: list[tuple[float, float]] = []
    outputs = images
    for layer in network:
        outputs = layer(outputs)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            signals.append(_signal(outputs.detach()))
    F.cross_entropy(outputs, labels).backward()  # type: ignore[no-untyped-call]
    return [
        LayerSignal(name, deviation, _rms(layer.weight.grad), _rms(layer.weight.detach()), share)
        for (name, layer), (deviation, share) in zip(network.weight_layers.items(), signals, strict=True)
    ]


def _signal(outputs: Tensor) -> tuple[float, float]:
    """The standard deviation of outputs [B, …], and the share of them that differs between images."""
    values = outputs.double()
    share = _rms(values.std(dim=0, correction=0)) / (_rms(values) or 1.0)
    return float(values.std(correction=0)), share


def _rms(values: Tensor | None) -> float:
    return 0.0 if values is None else float(values.double().square().mean().sqrt())
