"""The six networks of table 1 of Simonyan & Zisserman (2014), arXiv:1409.1556, named by their letters."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from src.base.errors import InputError
from src.base.tensors import without_autocast
from src.compute.winograd import Conv3x3

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

NAMES: dict[Letter, str] = {
    "A": "VGG11",
    "A-LRN": "VGG11-LRN",
    "B": "VGG13",
    "C": "VGG16-1x1",
    "D": "VGG16",
    "E": "VGG19",
}
"""What the networks are usually called: by their layers with weights."""


class VGG(nn.Sequential):
    """One network of table 1, from images [N, 3, H, W] to logits [N, classes].

    Layers have the paper's names, so that weights can be copied by name: conv1_1 … conv5_4, fc6, fc7, fc8. Convolutions
    have stride 1 and keep the size of the image. Each of the five poolings halves it (section 2.1). All hidden layers
    end in a ReLU. The number of inputs of fc6 depends on `image_size`: 512 x 7 x 7 at 224. Logits are float32, also
    under autocast.

    Args:
        network: a key of `TABLE_1`.
        classes: outputs of fc8.
        image_size: height and width in pixels, a multiple of 32.
        dropout: of the outputs of fc6 and fc7 (section 3.1), in [0, 1).

    Raises:
        InputError: a value is not one of these.
    """

    def __init__(self, network: Letter, *, classes: int, image_size: int = 224, dropout: float = 0.5) -> None:
        whole_sides = isinstance(image_size, int) and image_size >= 32 and image_size % 32 == 0
        for name, value, fits, expected in (
            ("network", network, network in TABLE_1, f"one of {', '.join(TABLE_1)}"),
            ("classes", classes, isinstance(classes, int) and classes >= 1, "a whole number from 1"),
            ("image_size", image_size, whole_sides, "a multiple of 32"),
            ("dropout", dropout, isinstance(dropout, int | float) and 0 <= dropout < 1, "a number from 0 to below 1"),
        ):
            if not fits:
                raise InputError(f"VGG: {name}: {value!r}, expected {expected}")
        layers = OrderedDict[str, nn.Module]()
        channels = 3
        for block, specification in enumerate(TABLE_1[network].split("|"), start=1):
            for index, layer in enumerate(specification.split(), start=1):
                if layer == "LRN":
                    layers[f"lrn{block}"] = LocalResponseNorm()
                    continue
                size, width = (int(number) for number in layer.removeprefix("conv").split("-"))
                layers[f"conv{block}_{index}"] = (
                    Conv3x3(channels, width) if size == 3 else nn.Conv2d(channels, width, size)
                )
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
        layers["fc8"] = FullPrecisionLinear(4096, classes)
        super().__init__(layers)
        self.letter, self.classes, self.image_size = network, classes, image_size

    @property
    def weight_layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The layers with weights by name, from the first to the last."""
        return {name: layer for name, layer in self.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)}


def titles(networks: Mapping[str, Letter]) -> dict[str, str]:
    """A name for each stage's network, for figures. Networks that are alike have the name of the stage, too."""
    alike = len(set(networks.values())) < len(networks)
    return {stage: f"{NAMES[letter]} ({stage})" if alike else NAMES[letter] for stage, letter in networks.items()}


class FullPrecisionLinear(nn.Linear):
    """A fully connected layer that autocast does not touch: it computes in the precision of its weights.

    bf16 has 8 significant bits. Rounded to bf16, the logits of different classes are often equal.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        with without_autocast(inputs.device):
            return super().forward(inputs.to(self.weight.dtype))


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
