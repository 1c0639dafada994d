"""The images in batches. Order and augmentation are functions of (seed, epoch, step) alone.

The whole split is one uint8 tensor on the device. There are no loader workers and no state to save. So a run that was
interrupted continues with the same batches as a run without interruption.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from src.base.tensors import send
from src.compute import processes
from src.compute.seeds import generator_of
from src.images.augmentation import AugmentParams, augment, draw
from src.images.dataset import Dataset
from src.images.transforms import prepare


def shuffled(
    dataset: Dataset, batch_size: int, params: AugmentParams, *, seed: int, epoch: int, first: int = 0
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """One epoch: every image once, in a new order. The last batch holds the remaining images.

    Args:
        params: which augmentations are on.
        first: the step to begin with, in an epoch that was interrupted.

    Yields:
        the part of each batch that belongs to this process (all of it in a run of one process), on the device of the
        data set: images, float32 [B, 3, crop, crop], and labels, int64 [B]; and the size of the whole batch.
    """
    order = send(torch.randperm(len(dataset), generator=generator_of("order", seed, epoch)), dataset.labels.device)
    for step, batch in enumerate(torch.split(order, batch_size)[first:], start=first):
        part = processes.part(len(batch))
        draws = draw(len(batch), dataset.format, generator_of("augmentation", seed, epoch, step)).of(part)
        indices = batch[part]
        yield augment(dataset.images[indices], dataset.format, params, draws), dataset.labels[indices], len(batch)


def in_order(dataset: Dataset, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once, in stored order, not augmented: images and labels of the batches of this process."""
    batches = list(zip(torch.split(dataset.images, batch_size), torch.split(dataset.labels, batch_size), strict=True))
    for images, labels in batches[processes.rank() :: processes.size()]:
        yield prepare(images, dataset.format), labels
