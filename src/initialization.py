"""How weights start (section 3.1), the subject of this project's study."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from src.dataset import ImageFormat
from src.seeding import seed_of
from src.vgg import VGG, Column

Init = Literal["normal", "none", "xavier", "kaiming"]
InitStd = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def build(column: Column, image_format: ImageFormat, *, seed: int, init: Init, std: float, dropout: float) -> VGG:
    """A network for images of this format with new weights, on the CPU."""
    with torch.device("meta"):  # no weights yet: they are drawn once, below
        network = VGG(column, classes=len(image_format.classes), image_size=image_format.crop, dropout=dropout)
    network = network.to_empty(device="cpu")
    torch.manual_seed(seed_of(seed))
    initialize(network, init, std)
    return network


def initialize(network: nn.Module, init: Init, std: float) -> None:
    """Draw new weights for every convolution and fully connected layer, in order; biases become 0.

    - normal: N(0, std^2), as the paper with std 0.01
    - xavier: Glorot & Bengio (2010), uniform, which the paper names as the way to do without pre-training
    - kaiming: He et al. (2015), normal, variance 2 / fan-in
    - none: the framework's own (PyTorch: uniform, variance 1 / (3 fan-in), also for the biases)

    Numbers come from PyTorch's global generator. Initialise on the CPU: there they are the same for all devices.

    Args:
        std: standard deviation of `normal`; the others have their own.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if init == "none":
            layer.reset_parameters()
            continue
        if init == "normal":
            nn.init.normal_(layer.weight, std=std)
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
