"""What both training stages do: load the splits, train a network with checkpoints, write the model and the scores."""

import argparse
from collections.abc import Callable
from pathlib import Path

from src.base.params import flat
from src.compute import launch, processes
from src.compute.runtime import start_runtime
from src.images import dataset
from src.images.format import ImageFormat
from src.networks import model_file
from src.networks.vgg import VGG
from src.training.checkpoint import Checkpoint
from src.training.history import write_history
from src.training.loop import fit
from src.training.run import TrainingParams


def train_stage(
    name: str,
    paths: argparse.Namespace,
    params: TrainingParams,
    *,
    epochs: int,
    start: Callable[[ImageFormat], VGG],
    start_files: tuple[Path, ...] = (),
) -> None:
    """Run a training stage on all `runtime.devices`.

    Args:
        name: of the stage.
        paths: `train` and `validation` are read, `model` and `results` are written.
        start: makes the network, with the weights from which training starts, for images of a format.
        start_files: the files that `start` reads. Their content is part of the identity of the run.

    Raises:
        InputError: an input is missing or damaged, a device is missing, or training fails as in `fit`.
    """

    def work() -> None:
        runtime = start_runtime(params.runtime)
        settings = {"the device": processes.from_first(str(runtime)), **flat(params.model_dump())}
        checkpoint = Checkpoint(name, settings, inputs=(paths.train, paths.validation, *start_files))
        train, validation = (dataset.load(path).to(runtime.device) for path in (paths.train, paths.validation))
        network = runtime.place(start(train.format))
        print(f"{name}: network {network.letter} on {runtime}")
        states = None
        try:
            with write_history(paths.results) as log:
                states = fit(
                    network,
                    train,
                    validation,
                    epochs=epochs,
                    params=params,
                    runtime=runtime,
                    checkpoint=checkpoint,
                    log=log,
                    name=name,
                )
            if processes.is_first():
                model_file.save(paths.model, model_file.Model(network, train.format))
        except KeyboardInterrupt:
            if states is None:  # `fit` has written the state
                raise
            states.save()
            kept = f"{name}: stopped; kept: {states.kept}; give the same command again to continue"
            raise KeyboardInterrupt(kept) from None
        if processes.is_first():
            checkpoint.remove()

    launch.on_each_device(params.runtime.devices, work)
