"""Do the steps of the biases hide the signal? Train the study's cell eps-1e-16-none with and without these steps.

`dvc repro preprocess && python -m study.biases` takes about 12 minutes on one core. The table goes to docs/study.md.
Both runs have the same initial weights, images and dropout. In one run the biases stay 0.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F

from scripts import markdown
from src.base import cli
from src.base.errors import InputError
from src.compute.runtime import REFERENCE, start_runtime
from src.images import dataset
from src.images.augmentation import AugmentParams
from src.images.batches import shuffled
from src.networks.initialization import build

BATCH, RATE, BLOCK, BLOCKS = 32, 1e-4, 25, 6  # 150 steps; one mean loss per 25
PLAIN = AugmentParams(random_crop=False, flip=False, colour_shift=False)


def main() -> None:
    start_runtime(REFERENCE)
    train = dataset.load(Path("data", "processed", "train.safetensors"))
    if len(train) < (needed := BATCH * BLOCK * BLOCKS):
        raise InputError(f"data/processed: {len(train):,} training images, expected at least {needed:,} (see above)")
    train = replace(train, format=replace(train.format, resize=32, crop=32))
    header, rows = ["steps"], [[f"{BLOCK * block + 1} to {BLOCK * (block + 1)}"] for block in range(BLOCKS)]
    for seed, biases in product((1, 2), (True, False)):
        header.append(f"seed {seed}, {'all move' if biases else 'biases stay 0'}")
        for row, loss in zip(rows, training_losses(train, seed, biases=biases), strict=False):
            row.append(f"{loss:.4f}")
            print(f"{header[-1]}: steps {row[0]}: loss {row[-1]}", flush=True)
    markdown.insert(Path("docs", "study.md"), "biases", markdown.table(header, rows, first="---:"))


def training_losses(train: dataset.Dataset, seed: int, *, biases: bool) -> Iterator[float]:
    """The mean loss of each `BLOCK` steps of one epoch."""
    network = build("D", train.format, seed=seed, init="normal", init_std=0.01, dropout=0.5).train()
    trained = [values for name, values in network.named_parameters() if biases or not name.endswith("bias")]
    optimizer = torch.optim.Adam(trained, lr=RATE, eps=1e-16, fused=True)
    torch.manual_seed(seed)  # of dropout
    losses = []
    for images, labels, _ in shuffled(train, BATCH, PLAIN, seed=seed, epoch=1):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == BLOCK:
            yield sum(losses) / BLOCK
            losses.clear()


if __name__ == "__main__":
    cli.run(main)
