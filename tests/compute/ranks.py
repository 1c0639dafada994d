"""Training in several processes, for test_ranks.py: python -m tests.compute.ranks DEVICES FOLDER."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from src.base import cli
from src.compute import launch, processes, winograd
from src.compute.runtime import Runtime, start_runtime
from src.evaluation.predictions import predict
from src.images.augmentation import AugmentParams
from src.images.batches import shuffled
from src.networks import memory
from src.training.loop import validate
from src.training.optimizer import OptimizerParams
from src.training.run import Run
from tests.conftest import CENTRE, FORMAT, PARAMS, coloured_squares

DEVICES, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
# The last of the four batches has a single image: one of two processes has no part in it.
IMAGES, BATCH, EPOCHS = 13, 4, 2
# Steps so small that rounding does not grow. Larger steps multiply it, and so does Adam, which divides by the size of
# the gradient. A single process that adds the same two halves shows the same growth.
SGD = OptimizerParams(name="sgd", lr=1e-5, momentum=0.9, weight_decay=5e-4, eps=1e-8)
AUGMENT = AugmentParams(random_crop=True, flip=True, colour_shift=True)


def train() -> None:
    """Train with the library's convolutions and with Winograd's."""
    memory.MOST = 7
    winograd.faster = lambda shape, width: shape[0] > 0  # everywhere, although the batches are small
    runtime = start_runtime(PARAMS.runtime.model_copy(update={"devices": DEVICES}))
    for convolution in ("library", "winograd"):
        train_with(replace(runtime, winograd=convolution == "winograd"), f"{DEVICES}-{convolution}")


def train_with(runtime: Runtime, name: str) -> None:
    """Write the gradients of the first step by parameter, and losses, weights and predictions after all steps."""
    data = coloured_squares(IMAGES)
    data = replace(data, format=replace(FORMAT, resize=40))
    params = PARAMS.model_copy(update={"optimizer": SGD, "init": "kaiming", "dropout": 0.0})
    network = runtime.place(params.build("A", FORMAT))
    run = Run(network, params, runtime)
    losses, parts = [], 0
    for epoch in range(1, EPOCHS + 1):
        for images, labels, batch_size in shuffled(data, BATCH, AUGMENT, seed=0, epoch=epoch):
            run.step(images, labels, batch_size)
            parts += len(labels)
            if processes.is_first() and epoch == len(run.meter.losses) == 1:
                gradients = {name: p.grad.contiguous() for name, p in network.named_parameters() if p.grad is not None}
                save_file(gradients, FOLDER / f"{name}.safetensors")
        losses += [float(loss) for loss in run.meter.losses]
        run.end_epoch({"validation/accuracy": 0.0})
    weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest()
    result = {
        "losses": losses,
        "parts": processes.gather(parts),
        "weights": processes.gather(weights),
        "validation": validate(network, coloured_squares(30, seed=1), runtime),
        "logits": predict(network, coloured_squares(30, seed=2), runtime, CENTRE, batch=7).tolist(),
    }
    if processes.is_first():
        (FOLDER / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    cli.run(lambda: launch.on_each_device(DEVICES, train))
