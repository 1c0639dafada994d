"""Train VGG11 (network A) from random weights, or from those of a file."""

import os
from pathlib import Path

from src.base import cli
from src.base.params import Section, load
from src.images.format import ImageFormat
from src.networks.start import Sha256, Start, start_from
from src.networks.vgg import VGG, Letter
from src.training.run import Epochs, TrainingParams
from src.training.stage import train_stage


class Vgg11Params(Section):
    """`train_vgg11` of params.yaml."""

    network: Letter
    epochs: Epochs
    start: Start
    start_sha256: Sha256


class Params(TrainingParams):
    train_vgg11: Vgg11Params


def main() -> None:
    paths = cli.paths(__doc__, "train", "validation", "model", "results")
    params = load(Params)
    vgg11 = params.train_vgg11

    def start(image_format: ImageFormat) -> VGG:
        network = params.build(vgg11.network, image_format)
        if vgg11.start != "none":
            # A relative path starts at the root of the project, also in DVC's temporary copies of it.
            print(start_from(Path(os.environ.get("DVC_ROOT", "."), vgg11.start), vgg11.start_sha256, network))
        return network

    train_stage("train_vgg11", paths, params, epochs=vgg11.epochs, start=start)


if __name__ == "__main__":
    cli.run(main)
