"""A trained network as one safetensors file from which it can be rebuilt and used on images, with nothing else."""

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from src.dataset import ImageFormat
from src.errors import InputError
from src.files import whole
from src.vgg import VGG


@dataclass(frozen=True)
class Model:
    """A network, the column of table 1 it is built from, and how it sees an image."""

    network: VGG
    format: ImageFormat


def save(path: Path, model: Model) -> None:
    """Write weights (float32, by the paper's layer names) and metadata; equal models give equal bytes."""
    description = {"network": model.network.column, "format": model.format.to_json()}
    weights = {name: weight.cpu().contiguous() for name, weight in model.network.state_dict().items()}
    content = safetensors.torch.save(weights, metadata={"model": json.dumps(description, sort_keys=True)})
    with whole(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Model:
    """Rebuild a network, in evaluation mode, on the CPU.

    Raises:
        InputError: the file is missing, damaged, or holds other layers than the network it names.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["model"])
            format_ = ImageFormat.from_json(description["format"])
            with torch.device("meta"):  # the weights are about to come from the file
                network = VGG(description["network"], classes=len(format_.classes), image_size=format_.crop)
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()}, assign=True)  # noqa: SIM118 - no mapping
    except (FileNotFoundError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: no model of this project ({reason}); run `dvc repro`") from None
    return Model(network.eval(), format_)
