"""The predictions of a trained network."""

import torch
from torch import Tensor, nn
from tqdm import tqdm

from src.base.errors import InputError
from src.compute import processes
from src.compute.runtime import Runtime
from src.images.dataset import Dataset
from src.images.transforms import prepare

BATCH = 250
"""Images at a time: at 224 pixels VGG16 needs 3 GB for each of two layers in float32, less than in training."""


@torch.inference_mode()
def predict(network: nn.Module, dataset: Dataset, runtime: Runtime, batch: int = BATCH) -> Tensor:
    """The logits of all images, float32 [N, classes], on the CPU. Each process does its share of the batches.

    Raises:
        InputError: a logit is not finite.
    """
    network = runtime.place(network).eval()
    batches = torch.split(dataset.images.to(runtime.device), batch)
    share = range(len(batches))[processes.rank() :: processes.size()]
    logits = []
    for index in tqdm(share, unit="batch", leave=False, disable=None):
        with runtime.autocast():
            logits.append(network(prepare(batches[index], dataset.format)).float())
    own = dict(zip(share, (part.cpu() for part in logits), strict=True))
    parts = {index: part for process in processes.gather(own) for index, part in process.items()}
    result = torch.cat([parts[index] for index in range(len(batches))])
    if bad := int((~result.isfinite().all(dim=1)).sum()):
        raise InputError(
            f"the network's outputs for {bad:,} of {len(result):,} images are not finite on {runtime}; "
            "try runtime.precision=fp32"
        )
    return result
