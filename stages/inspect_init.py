"""Measure signal and gradient of both networks at the start of training, layer by layer, on one batch."""

import json

import torch

from src import cli, dataset, figures, runtime
from src.files import write_csv, write_text
from src.images import prepare
from src.initialization import Init, InitStd, build
from src.inspection import LayerSignal, below, inspect
from src.optimization import Eps
from src.params import Part, Section, Seed, load
from src.seeding import generator_of
from src.vgg import Column

IMAGES = 32
"""Enough for the statistics to settle and few enough for seconds on a CPU at 224 pixels."""


class NetworkPart(Part):
    """What counts here of `train_vgg11` and `train_vgg16` of params.yaml."""

    network: Column


class OptimizerPart(Part):
    """What counts here of `optimizer` of params.yaml."""

    eps: Eps


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
    eps = params.optimizer.eps
    runtime.start(runtime.REFERENCE)
    train = dataset.load(paths.train)
    drawn = torch.randperm(len(train), generator=generator_of(params.seed))[:IMAGES]
    images, labels = prepare(train.images[drawn], train.format), train.labels[drawn]

    signals: dict[str, list[LayerSignal]] = {}
    for name, part in (("vgg11", params.train_vgg11), ("vgg16", params.train_vgg16)):
        network = build(part.network, train.format, seed=params.seed, init=params.init, std=params.init_std, dropout=0)
        signals[name] = inspect(network, images, labels)
        print(f"{name}: gradient RMS below eps ({eps:g}) in {below(signals[name], eps)} of {len(signals[name])} layers")

    rows = [(name, *signal) for name, layers in signals.items() for signal in layers]
    write_csv(paths.results / "layers.csv", [("network", *LayerSignal._fields), *rows])
    pictured = {name.upper(): layers for name, layers in signals.items()}
    figures.save(figures.layers(pictured, eps), paths.results / "layers.png")
    metrics = {
        name: {"layers": len(layers), "layers_below_eps": below(layers, eps)} for name, layers in signals.items()
    }
    write_text(paths.results / "metrics.json", json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
