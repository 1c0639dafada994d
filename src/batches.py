"""The training images in batches: order and augmentation are functions of (seed, epoch, step) alone.

The whole set lies on the device as one uint8 tensor; there are no loader workers and no state to carry over, so a
run that goes on after an interruption sees the batches it would have seen without it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from src import distributed
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
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """One epoch: every image once, in a new order; the last batch holds what is left.

    Args:
        first: the step to begin with, in an epoch that was interrupted.

    Yields:
        this process's part of each batch (in a run of one process all of it), on the device of the data set: images,
        float32 [B, 3, crop, crop], and labels, int64 [B]; and how many images the whole batch has.
    """
    order = torch.randperm(len(dataset), generator=generator_of(seed, epoch)).to(dataset.labels.device)
    for step, batch in enumerate(torch.split(order, batch_size)[first:], start=first):
        part = distributed.part(len(batch))
        chances = draw(len(batch), dataset.format, generator_of(seed, epoch, step)).of(part)
        indices = batch[part]
        images = augmented(dataset.images[indices], dataset.format, augment, chances)
        yield images, dataset.labels[indices], len(batch)


def in_order(dataset: Dataset, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once, as stored, not augmented: those batches that are this process's share, images and labels."""
    batches = list(zip(torch.split(dataset.images, batch_size), torch.split(dataset.labels, batch_size), strict=True))
    for images, labels in batches[distributed.rank() :: distributed.size()]:
        yield prepare(images, dataset.format), labels


class Chances(NamedTuple):
    """The random numbers of augmentation, a row an image, on the CPU: the same for all devices."""

    top: Tensor  # int64 [B], of the crop, in pixels
    left: Tensor  # int64 [B]
    mirrored: Tensor  # bool [B]
    colours: Tensor  # float64 [B, 3], N(0, 0.1^2)

    def of(self, part: slice) -> "Chances":
        return Chances(*(numbers[part] for numbers in self))


def draw(count: int, image_format: ImageFormat, generator: torch.Generator) -> Chances:
    """The numbers for a whole batch of `count` images, whichever part of it a process augments."""
    places = image_format.resize - image_format.crop + 1
    return Chances(
        top=torch.randint(places, (count,), generator=generator),
        left=torch.randint(places, (count,), generator=generator),
        mirrored=torch.rand(count, generator=generator) < 0.5,
        colours=torch.randn(count, 3, generator=generator, dtype=torch.float64) * 0.1,
    )


def augmented(images: Tensor, image_format: ImageFormat, augment: AugmentParams, chances: Chances) -> Tensor:
    """What a network sees of uint8 images [B, 3, 32, 32] in training: float32 [B, 3, crop, crop] (section 3.1)."""
    images = resize(images.float(), image_format.resize)
    crop = (
        random_crop(images, image_format.crop, chances.top, chances.left)
        if augment.random_crop
        else centre_crop(images, image_format.crop)
    )
    if augment.flip:
        crop = random_flip(crop, chances.mirrored)
    if augment.colour_shift:
        crop = colour_shift(crop, image_format, chances.colours)
    return normalise(crop, image_format)


def random_crop(images: Tensor, size: int, top: Tensor, left: Tensor) -> Tensor:
    """A square of each image, at its own row `top` [B] and column `left` [B]: [B, 3, H, W] to [B, 3, size, size]."""
    count, channels = images.shape[:2]
    window = torch.arange(size, device=images.device)
    rows = (top.to(images.device)[:, None] + window)[:, None, :, None]
    columns = (left.to(images.device)[:, None] + window)[:, None, None, :]
    image = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return images[image, channel, rows, columns]


def random_flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """The images whose `mirrored`, bool [B], is true, mirrored left to right."""
    return torch.where(mirrored.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)


def colour_shift(images: Tensor, image_format: ImageFormat, weights: Tensor) -> Tensor:
    """Add to each image, in 0..255, a random multiple of the principal components of the training pixels' colours.

    Krizhevsky et al. (2012), section 4.1: the components times their eigenvalues times `weights` [B, 3], N(0, 0.1).
    The eigenvalues are those of pixels in 0..1: the product depends on the unit, and in 0..255 a typical shift
    would exceed the whole range.
    """
    eigenvalues, components = torch.linalg.eigh(torch.tensor(image_format.covariance, dtype=torch.float64))
    shift = (weights * eigenvalues) @ components.T * 255
    shift = shift.to(images.device, images.dtype)
    return images.add(shift[:, :, None, None])
