"""Measure signal and gradient of VGG16 before and after it takes over layers of VGG11, on the batch of inspect_init."""

from src import cli, dataset, model_file, runtime
from src.errors import InputError
from src.initialization import Init, InitStd, build
from src.inspection import OptimizerPart, batch, inspect, report
from src.params import Part, Section, Seed, load
from src.transfer import Transfer, transfer
from src.vgg import Column


class TransferPart(Part):
    """What counts here of `train_vgg16` of params.yaml."""

    network: Column
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
    runtime.start(runtime.REFERENCE)
    train = dataset.load(paths.train)
    source = model_file.load(paths.vgg11)
    if difference := source.format.difference(train.format):
        raise InputError(f"{paths.vgg11}: made for other images than {paths.train}: {difference}; run `dvc repro`")
    images, labels = batch(train, params.seed)
    column, which = params.train_vgg16.network, params.train_vgg16.transfer
    network = build(column, train.format, seed=params.seed, init=params.init, std=params.init_std, dropout=0)
    signals = {"before_transfer": inspect(network, images, labels)}
    print(transfer(source.network, network, which))
    signals["after_transfer"] = inspect(network, images, labels)
    report(paths.results, signals, params.optimizer.eps)


if __name__ == "__main__":
    cli.run(main)
