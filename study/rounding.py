"""Is what differs between images at the end of VGG16 more than rounding errors, before training?

`dvc repro preprocess && python -m study.rounding` takes about a minute. The table goes to docs/study.md. The outputs of
one network for the same images are computed in fp64, fp32 and bf16. The signal of outputs is what differs between
images: the outputs minus their mean over the images.
"""

from pathlib import Path

import torch
from torch import Tensor

from scripts import markdown
from src.base import cli
from src.compute.runtime import REFERENCE, start_runtime
from src.images import dataset
from src.inspection.signals import sample
from src.networks.initialization import Init, build
from src.networks.vgg import VGG

SEEDS = (0, 1, 2)
INITS: tuple[Init, ...] = ("normal", "none", "kaiming")


def main() -> None:
    start_runtime(REFERENCE)
    train = dataset.load(Path("data", "processed", "train.safetensors"))
    rows = []
    for init in INITS:
        columns: list[list[str]] = [[], [], [], []]
        for seed in SEEDS:
            network = build("D", train.format, seed=seed, init=init, init_std=0.01, dropout=0)
            for column, value in zip(columns, errors(network, sample(train, seed)[0]), strict=True):
                column.append(f"{float(f'{value:.2g}'):g}")
        rows.append([f"`init={init}`", *(", ".join(column) for column in columns)])
    header = ["VGG16 before training", "outputs", "signal", "error of the signal in fp32", "error in bf16"]
    markdown.insert(Path("docs", "study.md"), "rounding", markdown.table(header, rows))


@torch.inference_mode()
def errors(network: VGG, images: Tensor) -> tuple[float, float, float, float]:
    """RMS of the outputs and of their signal, and the errors of the signal in fp32 and bf16, relative to its RMS.

    Args:
        network: in fp32; it becomes fp64.
        images: float32 [N, 3, crop, crop].
    """
    fp32 = network(images)
    with torch.autocast("cpu", torch.bfloat16):
        bf16 = network(images)
    exact = network.double()(images.double())
    size = rms(signal(exact))
    in_fp32, in_bf16 = (rms(signal(outputs) - signal(exact)) / size for outputs in (fp32, bf16))
    return rms(exact), size, in_fp32, in_bf16


def signal(outputs: Tensor) -> Tensor:
    return outputs.double() - outputs.double().mean(dim=0)


def rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


if __name__ == "__main__":
    cli.run(main)
