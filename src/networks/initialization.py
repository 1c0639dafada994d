"""The initial weights (section 3.1), which are the subject of this project's study."""

from typing import Annotated, Literal, get_args

import torch
from pydantic import Field
from torch import nn

from src.base.errors import InputError
from src.compute.seeds import seed_of
from src.images.format import ImageFormat
from src.networks.vgg import VGG, Letter

Init = Literal["normal", "none", "xavier", "kaiming"]
InitStd = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def build(network: Letter, image_format: ImageFormat, *, seed: int, init: Init, init_std: float, dropout: float) -> VGG:
    """A network for images of this format, with new weights, on the CPU."""
    with torch.device("meta"):  # no weights yet: `initialize` draws them
        vgg = VGG(network, classes=len(image_format.classes), image_size=image_format.crop, dropout=dropout)
    vgg = vgg.to_empty(device="cpu")
    torch.manual_seed(seed_of("weights", seed))
    initialize(vgg, init, init_std)
    return vgg


def initialize(network: nn.Module, init: Init, init_std: float) -> None:
    """Draw new weights for every convolution and fully connected layer, in order. Biases become 0.

    - normal: N(0, init_std^2), the paper's with init_std 0.01
    - xavier: Glorot & Bengio (2010), uniform, which the paper names as a way to do without pre-training
    - kaiming: He et al. (2015), normal, variance 2 / fan-in
    - none: PyTorch's own: uniform, variance 1 / (3 fan-in), also for the biases

    The numbers come from PyTorch's global generator. Initialise on the CPU: then they are equal for all devices.

    Args:
        init_std: standard deviation of `normal`, in (0, 1]. The others ignore it.

    Raises:
        InputError: `init` or `init_std` is something else.
    """
    if init not in get_args(Init):
        raise InputError(f"init: {init!r}, expected one of {', '.join(get_args(Init))}")
    if init == "normal" and not 0 < init_std <= 1:
        raise InputError(f"init_std: {init_std!r}, expected a number above 0 and up to 1")
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if init == "none":
            layer.reset_parameters()
            continue
        if init == "normal":
            nn.init.normal_(layer.weight, std=init_std)
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
