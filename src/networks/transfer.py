"""Copy layers of a trained shallow network into a deep network by name (section 3.1)."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from src.base.errors import InputError
from src.networks.vgg import VGG

Transfer = Literal["none", "paper", "all", "convolutions", "fully_connected"]


@dataclass(frozen=True)
class Transferred:
    """Names of the target's layers: those with the source's weights, and those that kept their own weights."""

    copied: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        return f"from the trained network: {' '.join(self.copied) or 'nothing'}; newly drawn: {' '.join(self.kept)}"


def transfer_layers(source: VGG, target: VGG, transfer: Transfer) -> Transferred:
    """Copy weights and biases of the layers that `layers_to_copy` names from `source` to `target`.

    Raises:
        InputError: as `layers_to_copy`.
    """
    sources, targets = source.weight_layers, target.weight_layers
    names = layers_to_copy(source, target, transfer)
    for name in names:
        targets[name].load_state_dict(sources[name].state_dict())
    return Transferred(tuple(names), tuple(name for name in targets if name not in names))


def layers_to_copy(source: VGG, target: VGG, transfer: Transfer) -> list[str]:
    """The layers of `source` whose weights the layers of the same name of `target` get.

    - none: no layer
    - paper: "the first four convolutional layers and the last three fully-connected layers". The first four of A are
      conv1_1, conv2_1, conv3_1 and conv3_2. The paper does not say which layers of the deeper network get them. Here
      the layers of the same name do, which have the same shapes. The first four layers of D (conv1_1, conv1_2, conv2_1,
      conv2_2) have other shapes. The 1 x 1 convolutions of C (conv3_3, conv4_3, conv5_3) have no counterpart in A and
      keep their own weights.
    - all: every layer that has the same name and shape in both networks
    - convolutions, fully_connected: one half of `paper` without the other, for the study of a faulty transfer

    Raises:
        InputError: `transfer` is something else, or a layer of `paper`, `convolutions` or `fully_connected` is missing
            in the target or has another shape.
    """
    if transfer not in get_args(Transfer):
        raise InputError(f"transfer: {transfer!r}, expected one of {', '.join(get_args(Transfer))}")
    sources, targets = source.weight_layers, target.weight_layers
    convolutions = [name for name, layer in sources.items() if isinstance(layer, nn.Conv2d)][:4]
    fully_connected = ["fc6", "fc7", "fc8"]

    def fits(name: str) -> bool:
        return name in targets and sources[name].weight.shape == targets[name].weight.shape

    names = {
        "none": [],
        "paper": convolutions + fully_connected,
        "all": [name for name in sources if fits(name)],
        "convolutions": convolutions,
        "fully_connected": fully_connected,
    }[transfer]
    for name in names:
        if not fits(name):
            raise InputError(
                f"params.yaml: train_vgg16.transfer: {transfer}: {name} of network {source.letter}: no layer in "
                f"{target.letter} has this name and shape; use `all` or `none`"
            )
    return names
