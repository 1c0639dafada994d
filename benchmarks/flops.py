"""The work of one training step, and the size of a network, without computing anything."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from src.networks.vgg import VGG, Letter

CLASSES = 10


def training_flops(network: Letter, side: int) -> int:
    """FLOP of one forward and one backward pass for one image of side x side pixels, by PyTorch's counter.

    Convolutions and matrix products count, a multiplication and an addition as two. All other operations do not count.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        VGG(network, classes=CLASSES, image_size=side)(torch.empty(1, 3, side, side)).sum().backward()
    return int(counter.get_total_flops())


def parameters(network: Letter, side: int) -> int:
    """The number of weights and biases of a network for images of side x side pixels."""
    with torch.device("meta"):
        return sum(weights.numel() for weights in VGG(network, classes=CLASSES, image_size=side).parameters())
