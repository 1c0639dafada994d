"""Starting a deep network from a trained shallow one (section 3.1), by layer name."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from src.errors import InputError
from src.vgg import VGG

Transfer = Literal["none", "paper", "all", "convolutions", "fully_connected"]


@dataclass(frozen=True)
class Transferred:
    """Names of the target's layers: those that got the source's weights, and those that kept their own."""

    copied: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        return f"from the trained network: {' '.join(self.copied) or 'nothing'}; newly drawn: {' '.join(self.kept)}"


def transfer(source: VGG, target: VGG, which: Transfer) -> Transferred:
    """Copy weights and biases of layers of `source` into the layers of the same name of `target`.

    - none: no layer
    - paper: "the first four convolutional layers and the last three fully-connected layers". The first four of A
      are conv1_1, conv2_1, conv3_1 and conv3_2; the paper does not say where they go in a deeper network. The layers of
      the same names have their shapes there; the target's own first four (conv1_1, conv1_2, conv2_1, …) do not.
    - all: every layer that has the same name and shape in both
    - convolutions, fully_connected: one half of `paper` without the other, as when a transfer goes wrong; for the study

    Raises:
        InputError: a layer that is asked for by name is missing in the target or has another shape.
    """
    sources, targets = _layers(source), _layers(target)
    convolutions = [name for name, layer in sources.items() if isinstance(layer, nn.Conv2d)][:4]
    fully_connected = ["fc6", "fc7", "fc8"]
    wanted = {
        "none": [],
        "paper": convolutions + fully_connected,
        "all": [name for name in sources if name in targets and _shape(sources[name]) == _shape(targets[name])],
        "convolutions": convolutions,
        "fully_connected": fully_connected,
    }[which]
    for name in wanted:
        if name not in targets or _shape(sources[name]) != _shape(targets[name]):
            raise InputError(
                f"params.yaml: train_vgg16.transfer: {which}: {name} of network {source.column} has no layer of its "
                f"name and shape in {target.column}; use `all` or `none`"
            )
        targets[name].load_state_dict(sources[name].state_dict())
    return Transferred(tuple(wanted), tuple(name for name in targets if name not in wanted))


def _layers(network: VGG) -> dict[str, nn.Module]:
    return {name: layer for name, layer in network.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)}


def _shape(layer: nn.Module) -> tuple[int, ...]:
    return tuple(layer.get_parameter("weight").shape)
