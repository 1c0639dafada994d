"""Train VGG16 (network D), started from the trained VGG11."""

import argparse

from src import cli, dataset, distributed, launch, model_file, runtime
from src.checkpoint import Checkpoint
from src.curves import curves
from src.errors import InputError
from src.initialization import build
from src.params import Section, load
from src.training import Epochs, TrainingParams, fit
from src.transfer import Transfer, transfer
from src.vgg import Column


class Vgg16Params(Section):
    """`train_vgg16` of params.yaml."""

    network: Column
    epochs: Epochs
    transfer: Transfer


class Params(TrainingParams):
    train_vgg16: Vgg16Params


def main() -> None:
    paths = cli.paths(__doc__, "train", "validation", "vgg11", "model", "results")
    params = load(Params)
    launch.on_each_device(params.runtime.devices, lambda: train(paths, params))


def train(paths: argparse.Namespace, params: Params) -> None:
    machine = runtime.start(params.runtime)
    print(f"train_vgg16: network {params.train_vgg16.network} on {machine}")
    settings = (params.model_dump_json(), str(machine))
    checkpoint = Checkpoint("train_vgg16", settings, inputs=(paths.train, paths.validation, paths.vgg11))
    training, validation = (dataset.load(path).to(machine.device) for path in (paths.train, paths.validation))
    source = model_file.load(paths.vgg11)
    if difference := source.format.difference(training.format):
        raise InputError(f"{paths.vgg11}: made for other images than {paths.train}: {difference}; run `dvc repro`")
    network = build(params.train_vgg16.network, training.format, **params.initial())
    print(transfer(source.network, network, params.train_vgg16.transfer))
    del source
    machine.place(network)
    with curves(paths.results) as log:
        fit(
            network,
            training,
            validation,
            epochs=params.train_vgg16.epochs,
            params=params,
            runtime=machine,
            checkpoint=checkpoint,
            log=log,
            name="train_vgg16",
        )
    if distributed.is_first():
        model_file.save(paths.model, model_file.Model(network, training.format))
        checkpoint.remove()


if __name__ == "__main__":
    cli.run(main)
