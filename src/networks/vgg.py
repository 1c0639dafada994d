"""The six networks of table 1 of Simonyan & Zisserman (2014), arXiv:1409.1556, named by their letters."""

from collections import OrderedDict
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Letter = Literal["A", "A-LRN", "B", "C", "D", "E"]

TABLE_1: dict[Letter, str] = {
    "A": "conv3-64 | conv3-128 | conv3-256 conv3-256 | conv3-512 conv3-512 | conv3-512 conv3-512",
    "A-LRN": "conv3-64 LRN | conv3-128 | conv3-256 conv3-256 | conv3-512 conv3-512 | conv3-512 conv3-512",
    "B": "conv3-64 conv3-64 | conv3-128 conv3-128 | conv3-256 conv3-256 | conv3-512 conv3-512 | conv3-512 conv3-512",
    "C": "conv3-64 conv3-64 | conv3-128 conv3-128 | conv3-256 conv3-256 conv1-256 "
    "| conv3-512 conv3-512 conv1-512 | conv3-512 conv3-512 conv1-512",
    "D": "conv3-64 conv3-64 | conv3-128 conv3-128 | conv3-256 conv3-256 conv3-256 "
    "| conv3-512 conv3-512 conv3-512 | conv3-512 conv3-512 conv3-512",
    "E": "conv3-64 conv3-64 | conv3-128 conv3-128 | conv3-256 conv3-256 conv3-256 conv3-256 "
    "| conv3-512 conv3-512 conv3-512 conv3-512 | conv3-512 conv3-512 conv3-512 conv3-512",
}
"""The convolutions of each network as "conv<size>-<channels>". Every | and the end of the line is a max-pooling."""


class VGG(nn.Sequential):
    """One network of table 1, from images [N, 3, H, W] to logits [N, classes].

    Layers have the paper's names, so that weights can be copied by name: conv1_1 … conv5_4, fc6, fc7, fc8. Convolutions
    have stride 1 and keep the size of the image. Each of the five poolings halves it (section 2.1). All hidden layers
    end in a ReLU. The number of inputs of fc6 depends on `image_size`: 512 x 7 x 7 at 224.

    Args:
        network: a key of `TABLE_1`.
        classes: outputs of fc8.
        image_size: height and width in pixels, a multiple of 32.
        dropout: of the outputs of fc6 and fc7 (section 3.1).
    """

    def __init__(self, network: Letter, *, classes: int, image_size: int = 224, dropout: float = 0.5) -> None:
        if image_size < 32 or image_size % 32:
            raise ValueError(f"image_size is {image_size}, expected a multiple of 32")
        layers = OrderedDict[str, nn.Module]()
        channels = 3
        for block, specification in enumerate(TABLE_1[network].split("|"), start=1):
            for index, layer in enumerate(specification.split(), start=1):
                if layer == "LRN":
                    layers[f"lrn{block}"] = LocalResponseNorm()
                    continue
                size, width = (int(number) for number in layer.removeprefix("conv").split("-"))
                layers[f"conv{block}_{index}"] = nn.Conv2d(channels, width, size, padding=size // 2)
                layers[f"relu{block}_{index}"] = nn.ReLU(inplace=True)
                channels = width
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()  # channels first, also in channels_last memory
        layers["fc6"] = nn.Linear(channels * (image_size // 32) ** 2, 4096)
        layers["relu6"] = nn.ReLU(inplace=True)
        layers["drop6"] = nn.Dropout(dropout)
        layers["fc7"] = nn.Linear(4096, 4096)
        layers["relu7"] = nn.ReLU(inplace=True)
        layers["drop7"] = nn.Dropout(dropout)
        layers["fc8"] = nn.Linear(4096, classes)
        super().__init__(layers)
        self.letter = network

    @property
    def weight_layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The layers with weights by name, from the first to the last."""
        return {name: layer for name, layer in self.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)}


class LocalResponseNorm(nn.Module):
    """Local response normalisation of Krizhevsky et al. (2012), section 3.3, with their constants.

    Each activation of [N, C, H, W] is divided by (2 + 1e-4 * sum of squares over the 5 nearest channels) ^ 0.75.
    PyTorch's own layer takes the mean instead of the sum, and its gradient is not deterministic on a GPU.
    """

    def forward(self, images: Tensor) -> Tensor:
        channels = images.shape[1]
        squares = F.pad(images.float().square(), (0, 0, 0, 0, 2, 2))  # two channels of zeros on either side
        neighbours = sum(squares[:, shift : shift + channels] for shift in range(5))
        return images / (2 + 1e-4 * neighbours) ** 0.75
