"""Write a trained network for torchvision: a state dict that `torchvision.models.vgg16(num_classes=10)` loads.

    python -m scripts.export models/vgg16.safetensors vgg16.pth

For images of the model's own size, at most 224 pixels, torchvision's network gives the same outputs, up to rounding.
`prepare` in src/images/transforms.py makes the input. The way back is `train_vgg11.start` of params.yaml.
"""

import argparse
from pathlib import Path

import safetensors.torch
import torch

from src.base import cli
from src.base.errors import InputError
from src.base.files import atomic_write
from src.networks import model_file
from src.networks.torchvision_layout import NETWORKS, to_torchvision

FORMATS = (".pth", ".pt", ".safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model of this project")
    parser.add_argument("file", type=Path, help=f"what to write: {', '.join(FORMATS)}")
    arguments = parser.parse_args()
    if arguments.file.suffix not in FORMATS:
        raise InputError(f"{arguments.file}: expected a name that ends in {', '.join(FORMATS)}")
    if arguments.file.exists() and arguments.file.samefile(arguments.model):
        raise InputError(f"{arguments.file}: is the model itself; name another file")
    model = model_file.load(arguments.model)
    state = to_torchvision(model.network)
    with atomic_write(arguments.file) as temporary:
        if arguments.file.suffix == ".safetensors":
            safetensors.torch.save_file(state, temporary)
        else:
            with temporary.open("wb") as file:  # a path would become a part of the archive
                torch.save(state, file)
    name, classes = NETWORKS[model.network.letter], len(model.format.classes)
    print(f"{arguments.file}: for torchvision.models.{name}(num_classes={classes})")
    print(f"classes: {' '.join(model.format.classes)}")


if __name__ == "__main__":
    cli.run(main)
