"""Measure signal and gradient of both networks at the start of training, layer by layer, on one batch."""

from src import cli, dataset, runtime
from src.initialization import Init, InitStd, build
from src.inspection import OptimizerPart, batch, inspect, report
from src.params import Part, Section, Seed, load
from src.vgg import Column


class NetworkPart(Part):
    """What counts here of `train_vgg11` and `train_vgg16` of params.yaml."""

    network: Column


class Params(Section):
    seed: Seed
    init: Init
    init_std: InitStd
    optimizer: OptimizerPart
    train_vgg11: NetworkPart
    train_vgg16: NetworkPart


def main() -> None:
    paths = cli.paths(__doc__, "train", "results")
    params = load(Params)
    runtime.start(runtime.REFERENCE)
    train = dataset.load(paths.train)
    images, labels = batch(train, params.seed)
    signals = {}
    for name, part in (("vgg11", params.train_vgg11), ("vgg16", params.train_vgg16)):
        network = build(part.network, train.format, seed=params.seed, init=params.init, std=params.init_std, dropout=0)
        signals[name] = inspect(network, images, labels)
    report(paths.results, signals, params.optimizer.eps)


if __name__ == "__main__":
    cli.run(main)
