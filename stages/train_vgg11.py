"""Train VGG11 (network A) from random weights."""

from src.base import cli
from src.base.params import Section, load
from src.networks.vgg import Letter
from src.training.run import Epochs, TrainingParams
from src.training.stage import train_stage


class Vgg11Params(Section):
    """`train_vgg11` of params.yaml."""

    network: Letter
    epochs: Epochs


class Params(TrainingParams):
    train_vgg11: Vgg11Params


def main() -> None:
    paths = cli.paths(__doc__, "train", "validation", "model", "results")
    params = load(Params)
    vgg11 = params.train_vgg11
    train_stage(
        "train_vgg11",
        paths,
        params,
        epochs=vgg11.epochs,
        start=lambda image_format: params.build(vgg11.network, image_format),
    )


if __name__ == "__main__":
    cli.run(main)
