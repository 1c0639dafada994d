"""Check that the settings fit together, then measure signal and gradient of both networks before training."""

from src.base import cli
from src.base.params import Part, Section, Seed, load
from src.compute.runtime import REFERENCE, start_runtime
from src.images import dataset
from src.images.views import EvaluateParams, evaluation_scales
from src.inspection.report import OptimizerPart, report
from src.inspection.signals import inspect, sample
from src.networks.initialization import Init, InitStd, build
from src.networks.transfer import Transfer, layers_to_copy
from src.networks.vgg import Letter, titles


class Vgg11Part(Part):
    """The key of `train_vgg11` of params.yaml that matters here."""

    network: Letter


class Vgg16Part(Part):
    """The keys of `train_vgg16` of params.yaml that matter here."""

    network: Letter
    transfer: Transfer


class Params(Section):
    seed: Seed
    init: Init
    init_std: InitStd
    optimizer: OptimizerPart
    train_vgg11: Vgg11Part
    train_vgg16: Vgg16Part
    evaluate: EvaluateParams


def main() -> None:
    paths = cli.paths(__doc__, "train", "results")
    params = load(Params)
    start_runtime(REFERENCE)
    train = dataset.load(paths.train)
    letters = {"train_vgg11": params.train_vgg11.network, "train_vgg16": params.train_vgg16.network}
    vgg11, vgg16 = (
        build(letter, train.format, seed=params.seed, init=params.init, init_std=params.init_std, dropout=0)
        for letter in letters.values()
    )
    # What does not fit together is found now, not after hours of training.
    layers_to_copy(vgg11, vgg16, params.train_vgg16.transfer)
    evaluation_scales(params.evaluate.scales, train.format)

    images, labels = sample(train, params.seed)
    signals = {"vgg11": inspect(vgg11, images, labels), "vgg16": inspect(vgg16, images, labels)}
    names = dict(zip(signals, titles(letters).values(), strict=True))
    report(paths.results, signals, names, params.optimizer.eps)


if __name__ == "__main__":
    cli.run(main)
