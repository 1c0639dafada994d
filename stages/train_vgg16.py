"""Train VGG16 (network D), started from layers of the trained VGG11."""

from src.base import cli
from src.base.params import Section, load
from src.images.format import ImageFormat
from src.networks.model_file import load_for
from src.networks.transfer import Transfer, transfer_layers
from src.networks.vgg import VGG, Letter
from src.training.run import Epochs, TrainingParams
from src.training.stage import train_stage


class Vgg16Params(Section):
    """`train_vgg16` of params.yaml."""

    network: Letter
    epochs: Epochs
    transfer: Transfer


class Params(TrainingParams):
    train_vgg16: Vgg16Params


def main() -> None:
    paths = cli.paths(__doc__, "train", "validation", "vgg11", "model", "results")
    params = load(Params)
    vgg16 = params.train_vgg16

    def start(image_format: ImageFormat) -> VGG:
        vgg11 = load_for(paths.vgg11, image_format, paths.train)
        network = params.build(vgg16.network, image_format)
        print(transfer_layers(vgg11.network, network, vgg16.transfer))
        return network

    train_stage("train_vgg16", paths, params, epochs=vgg16.epochs, start=start, start_files=(paths.vgg11,))


if __name__ == "__main__":
    cli.run(main)
