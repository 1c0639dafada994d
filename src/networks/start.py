"""The weights of a file as the start of training: a model of this project, or a state dict of torchvision's VGG."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor

from src.base.errors import InputError, out_of_memory
from src.networks.torchvision_layout import PARTS, from_torchvision, to_float32
from src.networks.transfer import Transferred
from src.networks.vgg import VGG

Start = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^(none|[0-9a-f]{64})$")]


def start_from(path: Path, sha256: str, network: VGG) -> Transferred:
    """Copy each layer of a file that has the shape of the network's layer of the same name.

    Images of this project are not divided by a standard deviation, as those of torchvision's own weights were.

    Args:
        path: a model of this project, or torchvision's state dict, as safetensors or as `torch.save` writes it.
        sha256: of the file, so that the parameters alone say from which weights a run started.

    Raises:
        InputError: the file is missing, has another digest, is neither of the two, or no layer fits.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: {reason}; train_vgg11.start names this file") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise InputError(f"params.yaml: train_vgg11.start_sha256: {sha256}: {path} has {digest}")
    weights = _read(path, content, network)
    copied: dict[str, dict[str, Tensor]] = {}
    for name, layer in network.weight_layers.items():
        places = {part: f"{name}.{part}" for part in PARTS}
        if all(key in weights and weights[key].shape == getattr(layer, part).shape for part, key in places.items()):
            try:
                copied[name] = {part: to_float32(key, weights[key]) for part, key in places.items()}
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
    for name, parts in copied.items():
        network.weight_layers[name].load_state_dict(parts)
    if not copied:
        raise InputError(f"{path}: no layer has the shape of a layer of network {network.letter}")
    return Transferred(tuple(copied), tuple(name for name in network.weight_layers if name not in copied))


def _read(path: Path, content: bytes, network: VGG) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load(content)
        else:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives raise exceptions of every kind
        if line := out_of_memory(error):
            raise line from None
        reason = "refused" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
        raise InputError(f"{path}: not a file of weights ({reason})") from None
    tensors_by_name = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )
    if not (tensors_by_name and state):
        raise InputError(f"{path}: not a state dict: expected tensors by name")
    if any(name.startswith("features.") for name in state):
        try:
            return from_torchvision(state, network)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return {str(name): value for name, value in state.items()}
