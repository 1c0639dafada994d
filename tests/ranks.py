"""Twenty steps of training in several processes, for test_distributed.py: python -m tests.ranks DEVICES FILE."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from src import cli, distributed, launch, runtime, training
from src.batches import AugmentParams, shuffled
from src.dataset import Dataset
from src.evaluation import predict
from src.initialization import build
from src.optimization import OptimizerParams
from src.training import Run, validate
from tests.conftest import FORMAT, PARAMS, coloured_squares

DEVICES, FILE = int(sys.argv[1]), Path(sys.argv[2])
# The last of the four batches has a single image: one of two processes has no part in it.
IMAGES, BATCH, EPOCHS = 13, 4, 5
# Settings under which a last bit stays one for twenty steps. Larger steps, and Adam, which divides by the size of the
# gradient, multiply it; also when a single process adds up the same two halves.
SGD = OptimizerParams(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4, eps=1e-8)
AUGMENT = AugmentParams(random_crop=True, flip=True, colour_shift=True)


def train() -> None:
    training.VALIDATION_BATCH = 7
    machine = runtime.start(PARAMS.runtime.model_copy(update={"devices": DEVICES}))
    data = coloured_squares(IMAGES)
    data = Dataset(data.images, data.labels, replace(FORMAT, resize=40))
    network = machine.place(build("A", FORMAT, seed=0, init="none", std=0.01, dropout=0))
    run = Run(network, PARAMS.model_copy(update={"optimizer": SGD}), machine)
    losses, parts = [], 0
    for epoch in range(1, EPOCHS + 1):
        for images, labels, batch_size in shuffled(data, BATCH, AUGMENT, seed=0, epoch=epoch):
            run.step(images, labels, batch_size)
            parts += len(labels)
        losses += [float(loss) for loss in run.meter.losses]
        run.end_epoch({"validation/accuracy": 0.0})
    weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest()
    result = {
        "losses": losses,
        "parts": distributed.everyones(parts),
        "weights": distributed.everyones(weights),
        "validation": validate(network, coloured_squares(30, seed=1), machine),
        "logits": predict(network, coloured_squares(30, seed=2), machine, batch=7).tolist(),
    }
    if distributed.is_first():
        FILE.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    cli.run(lambda: launch.on_each_device(DEVICES, train))
