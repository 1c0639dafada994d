"""Do the steps of the biases drown the signal? The study's cell eps-1e-16-none with and without them.

    dvc repro preprocess
    python -m scripts.study_biases --seeds 1 2     about six minutes a seed on a core; the table goes to docs/study.md

VGG16 from N(0, 0.01²), Adam with eps 1e-16, images of 32 pixels. Both ways start from the same weights and get the same
images and the same dropout; in one of them the biases stay 0. It is no option of the pipeline: it serves nothing else.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from scripts import page
from src import cli, dataset, runtime
from src.batches import AugmentParams, shuffled
from src.dataset import Dataset
from src.initialization import build

TRAIN = Path("data", "processed", "train.safetensors")
PAGE = Path("docs", "study.md")
PIXELS, BATCH, RATE, EPS, BLOCK = 32, 32, 1e-4, 1e-16, 25
PLAIN = AugmentParams(random_crop=False, flip=False, colour_shift=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help=f"a multiple of {BLOCK} (default: 150)")
    arguments = parser.parse_args()
    runtime.start(runtime.REFERENCE)
    train = dataset.load(TRAIN)
    train = replace(train, format=replace(train.format, resize=PIXELS, crop=PIXELS))
    curves: dict[str, list[float]] = {}
    for seed in arguments.seeds:
        for biases in (True, False):
            name = f"seed {seed}, {'all move' if biases else 'biases stay 0'}"
            curves[name] = []
            for loss in islice(training_losses(train, seed, biases=biases), arguments.steps // BLOCK):
                curves[name].append(loss)
                print(f"{name}: step {BLOCK * len(curves[name])}: loss {loss:.4f}", flush=True)
    page.insert(PAGE, "biases", table(curves))


def training_losses(train: Dataset, seed: int, *, biases: bool) -> Iterator[float]:
    """The mean loss of each `BLOCK` steps of training; ends after an epoch."""
    network = build("D", train.format, seed=seed, init="normal", std=0.01, dropout=0.5).train()
    optimizer = torch.optim.Adam(moved(network, biases=biases), lr=RATE, eps=EPS, fused=True)
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


def moved(network: nn.Module, *, biases: bool) -> list[nn.Parameter]:
    """The parameters that are trained: all, or all but the biases."""
    return [parameter for name, parameter in network.named_parameters() if biases or not name.endswith("bias")]


def table(curves: dict[str, list[float]]) -> str:
    """The curves as a Markdown table, a column each."""
    rows = [
        [f"{BLOCK * index + 1} to {BLOCK * (index + 1)}", *(f"{loss:.4f}" for loss in losses)]
        for index, losses in enumerate(zip(*curves.values(), strict=False))
    ]
    return page.table(["steps", *curves], rows, first="---:")


if __name__ == "__main__":
    cli.run(main)
