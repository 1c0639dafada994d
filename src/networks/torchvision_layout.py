"""Weights in the layout of torchvision's VGG: the keys of `torchvision.models.vgg16`, for images of any size up to 224.

torchvision's network averages the last feature map into 7 x 7 values before its first fully connected layer (fc6). A
network for smaller images has fewer inputs of fc6. Both ways, fc6 takes this average into its weights, so that the
outputs stay the same.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.base.errors import InputError
from src.base.messages import one_line
from src.networks.vgg import NAMES, VGG, Letter, LocalResponseNorm

PARTS = ("weight", "bias")
SIDE = 7
"""Height and width of torchvision's last feature map."""
NETWORKS: dict[Letter, str] = {letter: NAMES[letter].lower() for letter in ("A", "B", "D", "E")}
"""torchvision's names. It has no network with local response normalisation (A-LRN) or 1 x 1 convolutions (C)."""


def to_torchvision(network: VGG) -> dict[str, Tensor]:
    """The weights of a network as torchvision's state dict. Its fc6 has 512 x 7 x 7 inputs, whatever the images.

    Raises:
        InputError: torchvision does not have the network, or the images are larger than 224 pixels.
    """
    if network.letter not in NETWORKS:
        raise InputError(f"network {network.letter}: torchvision has only {', '.join(NETWORKS)}")
    if network.image_size > 32 * SIDE:
        raise InputError(
            f"network for images of {network.image_size} pixels: torchvision averages them to {32 * SIDE} pixels"
        )
    state: dict[str, Tensor] = {}
    for (name, layer), key in zip(network.weight_layers.items(), keys(network), strict=True):
        parts = layer.state_dict()
        if name == "fc6":
            parts["weight"] = _resample(parts["weight"], torch.linalg.pinv(_pooling(network)))
        state |= {f"{key}.{part}": parts[part].cpu().clone() for part in PARTS}
    return state


def from_torchvision(state: Mapping[str, Tensor], network: VGG) -> dict[str, Tensor]:
    """The weights of torchvision's state dict by the names of this network's layers.

    Raises:
        InputError: the state dict is of another network, or as in `to_float32`.
    """
    layers = list(network.weight_layers)
    if any("running_mean" in key for key in state):
        raise InputError("weights with batch normalisation, which the networks here do not have")
    ours = {
        f"{key}.{part}": f"{name}.{part}" for key, name in zip(keys(network), layers, strict=True) for part in PARTS
    }
    if different := sorted(state.keys() ^ ours.keys()):
        raise InputError(f"not the layers of network {network.letter} in torchvision: {one_line(different[0])}")
    weights = {ours[key]: to_float32(key, value) for key, value in state.items()}
    if weights["fc6.weight"].shape[1:] == (512 * SIDE**2,):
        weights["fc6.weight"] = _resample(weights["fc6.weight"], _pooling(network))
    return weights


def to_float32(name: str, value: Tensor) -> Tensor:
    """A tensor of a file as float32.

    Raises:
        InputError: it is empty, sparse, quantised or without content, or has other than finite floating-point numbers.
    """
    found = f"{name}: {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise InputError(f"{found}: sparse, quantised or without content; save it as a usual tensor")
    if not (value.is_floating_point() and value.numel()):
        raise InputError(f"{found}, expected floating-point numbers")
    if not (value := value.float()).isfinite().all():
        raise InputError(f"{found}: has NaN, infinity, or numbers that float32 cannot hold")
    return value


def keys(network: VGG) -> list[str]:
    """torchvision's names of the layers with weights, in order: features.0, …, classifier.0, .3 and .6."""
    layers = [layer for layer in network if not isinstance(layer, LocalResponseNorm)]  # torchvision has none
    convolutions = [f"features.{place}" for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    return [*convolutions, "classifier.0", "classifier.3", "classifier.6"]


def _pooling(network: VGG) -> Tensor:
    """torchvision's averaging of a feature map of this network into 7 x 7 values, float64 [49, side * side]."""
    side = network.image_size // 32
    one_at_a_time = torch.eye(side**2, dtype=torch.float64).view(side**2, 1, side, side)
    return F.adaptive_avg_pool2d(one_at_a_time, SIDE).flatten(1).T


def _resample(weight: Tensor, matrix: Tensor) -> Tensor:
    """Weights of fc6, [4096, 512 * places], for other places: `matrix` is [places, new places]."""
    if matrix.shape[0] == matrix.shape[1]:  # 224 pixels: nothing is averaged
        return weight
    resampled: Tensor = weight.double().view(len(weight), 512, -1) @ matrix
    return resampled.flatten(1).to(weight.dtype)
