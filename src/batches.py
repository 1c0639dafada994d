"""The training images in batches: order and augmentation are functions of (seed, epoch, step) alone.

The whole set lies on the device as one uint8 tensor; there are no loader workers and no state to carry over, so a
run that goes on after an interruption sees the batches it would have seen without it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from src.dataset import Dataset, ImageFormat
from src.images import centre_crop, normalise, prepare, resize
from src.params import Section
from src.seeding import generator_of


class AugmentParams(Section):
    """`augment` of params.yaml."""

    random_crop: bool
    flip: bool
    colour_shift: bool


def shuffled(
    dataset: Dataset, batch_size: int, augment: AugmentParams, *, seed: int, epoch: int, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every image once, in a new order; the last batch holds what is left.

    Args:
        first: the step to begin with, in an epoch that was interrupted.

    Yields:
        images, float32 [B, 3, crop, crop], and labels, int64 [B], on the device of the data set.
    """
    order = torch.randperm(len(dataset), generator=generator_of(seed, epoch)).to(dataset.labels.device)
    for step, indices in enumerate(torch.split(order, batch_size)[first:], start=first):
        images = augmented(dataset.images[indices], dataset.format, augment, generator_of(seed, epoch, step))
        yield images, dataset.labels[indices]


def in_order(dataset: Dataset, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once, as stored, not augmented; yields as `shuffled` does."""
    for images, labels in zip(
        torch.split(dataset.images, batch_size), torch.split(dataset.labels, batch_size), strict=True
    ):
        yield prepare(images, dataset.format), labels


def augmented(images: Tensor, image_format: ImageFormat, augment: AugmentParams, generator: torch.Generator) -> Tensor:
    """What a network sees of uint8 images [B, 3, 32, 32] in training: float32 [B, 3, crop, crop] (section 3.1)."""
    images = resize(images.float(), image_format.resize)
    crop = (
        random_crop(images, image_format.crop, generator)
        if augment.random_crop
        else centre_crop(images, image_format.crop)
    )
    if augment.flip:
        crop = random_flip(crop, generator)
    if augment.colour_shift:
        crop = colour_shift(crop, image_format, generator)
    return normalise(crop, image_format)


def random_crop(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A square of its own from each image: [B, 3, H, W] to [B, 3, size, size]."""
    count, channels, height, width = images.shape
    top = torch.randint(height - size + 1, (count, 1), generator=generator).to(images.device)
    left = torch.randint(width - size + 1, (count, 1), generator=generator).to(images.device)
    window = torch.arange(size, device=images.device)
    image = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return images[image, channel, (top + window)[:, None, :, None], (left + window)[:, None, None, :]]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right, or not, with equal chances."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)


def colour_shift(images: Tensor, image_format: ImageFormat, generator: torch.Generator) -> Tensor:
    """Add to each image, in 0..255, a random multiple of the principal components of the training pixels' colours.

    Krizhevsky et al. (2012), section 4.1: the components times their eigenvalues times N(0, 0.1), drawn once an image.
    The eigenvalues are those of pixels in 0..1: the product depends on the unit, and in 0..255 a typical shift
    would exceed the whole range.
    """
    eigenvalues, components = torch.linalg.eigh(torch.tensor(image_format.covariance, dtype=torch.float64))
    weights = torch.randn(len(images), 3, generator=generator, dtype=torch.float64) * 0.1
    shift = (weights * eigenvalues) @ components.T * 255
    shift = shift.to(images.device, images.dtype)
    return images.add(shift[:, :, None, None])
