"""Measure signal and gradient of both networks at the start of training, layer by layer, on one batch."""

from src.base import cli
from src.base.params import Part, Section, Seed, load
from src.compute.runtime import REFERENCE, start_runtime
from src.images import dataset
from src.inspection.report import OptimizerPart, report
from src.inspection.signals import inspect, sample
from src.networks.initialization import Init, InitStd, build
from src.networks.vgg import Letter


class NetworkPart(Part):
    """The key of `train_vgg11` and `train_vgg16` of params.yaml that matters here."""

    network: Letter


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
    start_runtime(REFERENCE)
    train = dataset.load(paths.train)
    images, labels = sample(train, params.seed)
    signals = {}
    for name, part in (("vgg11", params.train_vgg11), ("vgg16", params.train_vgg16)):
        network = build(
            part.network, train.format, seed=params.seed, init=params.init, init_std=params.init_std, dropout=0
        )
        signals[name] = inspect(network, images, labels)
    report(paths.results, signals, params.optimizer.eps)


if __name__ == "__main__":
    cli.run(main)
