"""What an evaluation is made from: the outputs of a trained network, and the curves of its training."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from src import distributed
from src.dataset import Dataset
from src.errors import InputError
from src.images import prepare
from src.runtime import Runtime

BATCH = 250
"""Images at a time: at 224 pixels VGG16 needs 3 GB for each of two layers in float32, less than in training."""
CURVES = tuple(f"{split}/{metric}" for split in ("train", "validation") for metric in ("loss", "accuracy"))


@torch.inference_mode()
def predict(network: nn.Module, dataset: Dataset, runtime: Runtime, batch: int = BATCH) -> Tensor:
    """The logits of all images, float32 [N, classes], on the CPU; every process does its share of the batches.

    Raises:
        InputError: one of them is not finite.
    """
    network = runtime.place(network).eval()
    batches = torch.split(dataset.images.to(runtime.device), batch)
    share = range(len(batches))[distributed.rank() :: distributed.size()]
    logits = []
    for index in tqdm(share, unit="batch", leave=False, disable=None):
        with runtime.autocast():
            logits.append(network(prepare(batches[index], dataset.format)).float())
    mine = dict(zip(share, (part.cpu() for part in logits), strict=True))
    parts = {index: part for process in distributed.everyones(mine) for index, part in process.items()}
    result = torch.cat([parts[index] for index in range(len(batches))])
    if bad := int((~result.isfinite().all(dim=1)).sum()):
        raise InputError(
            f"the network's outputs for {bad:,} of {len(result):,} images are not finite on {runtime}; "
            "try runtime.precision=fp32"
        )
    return result


def read_curves(folder: Path) -> dict[str, NDArray[np.float64]]:
    """DVCLive's tables of one training run, by name (`CURVES`): float64 [epochs, 2], the epoch and the value.

    Raises:
        InputError: a table is missing, empty, or no table of numbers.
    """
    tables = {}
    for name in CURVES:
        path = folder / f"{name}.tsv"
        try:
            rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
            epochs, values = np.array(rows, dtype=np.float64).T
        except (FileNotFoundError, ValueError) as error:
            raise InputError(f"{path}: not a table of epochs and values ({error}); run `dvc repro`") from None
        tables[name] = np.stack([epochs, values], axis=1)
    return tables
