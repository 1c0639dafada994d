"""How signal and gradient pass through a network at the start of training, layer by layer."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from src.vgg import VGG


class LayerSignal(NamedTuple):
    """Of one layer: the standard deviation of its outputs, before the ReLU, and the RMS of its weights' gradient."""

    layer: str
    activation_std: float
    gradient_rms: float


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
    deviations: list[float] = []
    outputs = images
    for layer in network:
        outputs = layer(outputs)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            deviations.append(float(outputs.detach().double().std(correction=0)))
    F.cross_entropy(outputs, labels).backward()  # type: ignore[no-untyped-call]
    layers = [(name, layer) for name, layer in network.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [
        LayerSignal(name, deviation, _rms(layer.weight.grad))
        for (name, layer), deviation in zip(layers, deviations, strict=True)
    ]


def below(rows: list[LayerSignal], eps: float) -> int:
    """How many layers have a gradient RMS below `eps`."""
    return sum(row.gradient_rms < eps for row in rows)


def _rms(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(gradient.double().square().mean().sqrt())
