"""Measure signal and gradient of VGG16 before and after layers of VGG11 are copied, on the batch of inspect_init."""

from src.base import cli
from src.base.params import Part, Section, Seed, load
from src.compute.runtime import REFERENCE, start_runtime
from src.images import dataset
from src.inspection.report import OptimizerPart, report
from src.inspection.signals import inspect, sample
from src.networks.initialization import Init, InitStd, build
from src.networks.model_file import load_for
from src.networks.transfer import Transfer, transfer_layers
from src.networks.vgg import NAMES, Letter


class TransferPart(Part):
    """The keys of `train_vgg16` of params.yaml that matter here."""

    network: Letter
    transfer: Transfer


class Params(Section):
    seed: Seed
    init: Init
    init_std: InitStd
    optimizer: OptimizerPart
    train_vgg16: TransferPart


def main() -> None:
    paths = cli.paths(__doc__, "train", "vgg11", "results")
    params = load(Params)
    start_runtime(REFERENCE)
    train = dataset.load(paths.train)
    vgg11 = load_for(paths.vgg11, train.format, paths.train)
    images, labels = sample(train, params.seed)
    vgg16 = params.train_vgg16
    network = build(
        vgg16.network, train.format, seed=params.seed, init=params.init, init_std=params.init_std, dropout=0
    )
    signals = {"before_transfer": inspect(network, images, labels)}
    print(transfer_layers(vgg11.network, network, vgg16.transfer))
    signals["after_transfer"] = inspect(network, images, labels)
    titles = {moment: f"{NAMES[vgg16.network]} {moment.replace('_', ' ')}" for moment in signals}
    report(paths.results, signals, titles, params.optimizer.eps)


if __name__ == "__main__":
    cli.run(main)
