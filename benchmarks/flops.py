"""Floating-point operations of a network, from its layers: a multiplication and an addition count as two."""

from typing import Any

import torch
from torch import Tensor, nn

from src.vgg import VGG, Column

CLASSES = 10


def forward_flops(network: nn.Module, images: Tensor) -> int:
    """FLOP of convolutions and fully connected layers for these images; the rest is below 1 % and not counted."""
    flops = 0

    def count(layer: Any, _inputs: object, outputs: Tensor) -> None:
        nonlocal flops
        flops += 2 * outputs.numel() * layer.weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network(images)
    for hook in hooks:
        hook.remove()
    return flops


def training_flops(column: Column, side: int) -> int:
    """FLOP to train on one image of side x side pixels: the forward pass, the gradients of the inputs, of the weights.

    3 x forward counts the gradient of the image, which nobody needs: 0.2 % too much for VGG16 at 224 pixels.
    """
    with torch.device("meta"):
        return 3 * forward_flops(VGG(column, classes=CLASSES, image_size=side), torch.empty(1, 3, side, side))


def parameters(column: Column, side: int) -> int:
    """Weights and biases of a network for images of side x side pixels."""
    with torch.device("meta"):
        return sum(p.numel() for p in VGG(column, classes=CLASSES, image_size=side).parameters())
