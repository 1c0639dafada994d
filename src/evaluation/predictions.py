"""The predictions of a trained network."""

import torch
from torch import Tensor, nn
from tqdm import tqdm

from src.base.errors import InputError
from src.base.tensors import check
from src.compute import processes
from src.compute.runtime import Runtime
from src.images.dataset import Dataset
from src.images.transforms import prepare
from src.networks.memory import inference_batch


@torch.inference_mode()
def predict(network: nn.Module, dataset: Dataset, runtime: Runtime, batch: int | None = None) -> Tensor:
    """The logits of all images, float32 [N, classes], on the CPU. Each process does its share of the batches.

    Args:
        batch: images at a time. The default keeps the memory bounded (`inference_batch`).

    Raises:
        InputError: a logit is not finite, or the network is for another number of classes.
    """
    network = runtime.place(network).eval()
    batches = torch.split(dataset.images.to(runtime.device), batch or inference_batch(dataset.format.crop))
    share = range(len(batches))[processes.rank() :: processes.size()]
    logits = []
    for index in tqdm(share, unit="batch", leave=False, disable=None):
        images = prepare(batches[index], dataset.format)
        with runtime.autocast():
            logits.append(network(images).float())
    own = dict(zip(share, (part.cpu() for part in logits), strict=True))
    parts = {index: part for process in processes.gather(own) for index, part in process.items()}
    result = torch.cat([parts[index] for index in range(len(batches))])
    check("the network's outputs", result, "float32", (len(dataset), len(dataset.format.classes)))
    if bad := int((~result.isfinite().all(dim=1)).sum()):
        raise InputError(
            f"the network's outputs for {bad:,} of {len(result):,} images are not finite on {runtime}; "
            "try runtime.precision=fp32"
        )
    return result
