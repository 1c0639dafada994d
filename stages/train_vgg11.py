"""Train VGG11 (network A) from random weights."""

import argparse

from src import cli, dataset, distributed, launch, model_file, runtime
from src.checkpoint import Checkpoint
from src.curves import curves
from src.initialization import build
from src.params import Section, load
from src.training import Epochs, TrainingParams, fit
from src.vgg import Column


class Vgg11Params(Section):
    """`train_vgg11` of params.yaml."""

    network: Column
    epochs: Epochs


class Params(TrainingParams):
    train_vgg11: Vgg11Params


def main() -> None:
    paths = cli.paths(__doc__, "train", "validation", "model", "results")
    params = load(Params)
    launch.on_each_device(params.runtime.devices, lambda: train(paths, params))


def train(paths: argparse.Namespace, params: Params) -> None:
    machine = runtime.start(params.runtime)
    print(f"train_vgg11: network {params.train_vgg11.network} on {machine}")
    settings = (params.model_dump_json(), str(machine))
    checkpoint = Checkpoint("train_vgg11", settings, inputs=(paths.train, paths.validation))
    training, validation = (dataset.load(path).to(machine.device) for path in (paths.train, paths.validation))
    network = machine.place(build(params.train_vgg11.network, training.format, **params.initial()))
    with curves(paths.results) as log:
        fit(
            network,
            training,
            validation,
            epochs=params.train_vgg11.epochs,
            params=params,
            runtime=machine,
            checkpoint=checkpoint,
            log=log,
            name="train_vgg11",
        )
    if distributed.is_first():
        model_file.save(paths.model, model_file.Model(network, training.format))
        checkpoint.remove()


if __name__ == "__main__":
    cli.run(main)
