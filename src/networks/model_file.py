"""A trained network as one safetensors file. The file is enough to rebuild the network and to prepare its images."""

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from src.base.errors import InputError, out_of_memory
from src.base.files import atomic_write
from src.images.format import ImageFormat
from src.networks.vgg import VGG


@dataclass(frozen=True)
class Model:
    """A network and the format of the images that it was trained on.

    Raises:
        InputError: the network is for another number of classes or another size of images, its weights are not
            float32, or the format is impossible.
    """

    network: VGG
    format: ImageFormat

    def __post_init__(self) -> None:
        self.format.check()
        network, expected = self.network, (len(self.format.classes), self.format.crop)
        if (network.classes, network.image_size) != expected:
            raise InputError(
                f"network {network.letter}: for {network.classes} classes and images of {network.image_size} pixels, "
                f"but the image format has {expected[0]} classes and images of {expected[1]} pixels"
            )
        for name, weight in network.named_parameters():
            if weight.dtype != torch.float32:
                raise InputError(f"network {network.letter}: {name}: {weight.dtype}, expected float32; use .float()")


def save(path: Path, model: Model) -> None:
    """Write weights (float32, by the paper's layer names) and metadata. Equal models give equal bytes.

    Raises:
        InputError: a weight is not finite.
    """
    for name, weight in model.network.named_parameters():
        if not weight.isfinite().all():
            raise InputError(f"{path}: not written: {name} has weights that are not finite; lower optimizer.lr")
    description = {"network": model.network.letter, "format": model.format.to_json()}
    weights = {name: weight.cpu().contiguous() for name, weight in model.network.state_dict().items()}
    content = safetensors.torch.save(weights, metadata={"model": json.dumps(description, sort_keys=True)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Model:
    """Rebuild a network in evaluation mode, on the CPU.

    Raises:
        InputError: the file is missing, damaged, or holds other layers than the network it names.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["model"])
            format_ = ImageFormat.from_json(description["format"])
            with torch.device("meta"):  # the weights come from the file
                network = VGG(description["network"], classes=len(format_.classes), image_size=format_.crop)
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()}, assign=True)  # noqa: SIM118 - not a dict
        return Model(network.eval(), format_)
    except (InputError, OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if line := out_of_memory(error):
            raise line from None
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a model of this project ({reason}); run `dvc repro`") from None


def load_for(path: Path, image_format: ImageFormat, data: Path) -> Model:
    """`load` a model that will be used on the images of the file `data`, which have this format.

    Raises:
        InputError: as `load`, or the model was trained on images of another format.
    """
    model = load(path)
    if difference := model.format.difference(image_format):
        raise InputError(f"{path}: made for other images than {data}: {difference}; run `dvc repro`")
    return model
