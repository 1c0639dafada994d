"""Random crop, flip and colour shift of training images (section 3.1)."""

from typing import NamedTuple

import torch
from torch import Tensor

from src.base.params import Section
from src.images.format import ImageFormat
from src.images.transforms import centre_crop, normalise, resize


class AugmentParams(Section):
    """`augment` of params.yaml."""

    random_crop: bool
    flip: bool
    colour_shift: bool


class AugmentationDraws(NamedTuple):
    """The random numbers of augmentation, one row per image, on the CPU: equal for all devices."""

    top: Tensor  # int64 [B], of the crop, in pixels
    left: Tensor  # int64 [B]
    mirrored: Tensor  # bool [B]
    colours: Tensor  # float64 [B, 3], N(0, 0.1^2)

    def of(self, part: slice) -> "AugmentationDraws":
        """The rows of the images of one process."""
        return AugmentationDraws(*(numbers[part] for numbers in self))


def draw(count: int, image_format: ImageFormat, generator: torch.Generator) -> AugmentationDraws:
    """The numbers for a whole batch of `count` images, whichever part of it a process augments."""
    places = image_format.resize - image_format.crop + 1
    return AugmentationDraws(
        top=torch.randint(places, (count,), generator=generator),
        left=torch.randint(places, (count,), generator=generator),
        mirrored=torch.rand(count, generator=generator) < 0.5,
        colours=torch.randn(count, 3, generator=generator, dtype=torch.float64) * 0.1,
    )


def augment(images: Tensor, image_format: ImageFormat, params: AugmentParams, draws: AugmentationDraws) -> Tensor:
    """The input of a network in training: uint8 images [B, 3, 32, 32] to float32 [B, 3, crop, crop]."""
    images = resize(images.float(), image_format.resize)
    crop = (
        random_crop(images, image_format.crop, draws.top, draws.left)
        if params.random_crop
        else centre_crop(images, image_format.crop)
    )
    if params.flip:
        crop = random_flip(crop, draws.mirrored)
    if params.colour_shift:
        crop = colour_shift(crop, image_format, draws.colours)
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
    """The images [B, 3, H, W], mirrored left to right where `mirrored`, bool [B], is true."""
    return torch.where(mirrored.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)


def colour_shift(images: Tensor, image_format: ImageFormat, colours: Tensor) -> Tensor:
    """Add to each image, in 0..255, a random multiple of the principal components of the training pixels' colours.

    Krizhevsky et al. (2012), section 4.1: the components times their eigenvalues times `colours` [B, 3], N(0, 0.1^2).
    The eigenvalues are those of pixels in 0..1. Their product with a component depends on the unit: in 0..255 a
    typical shift would exceed the whole range.
    """
    eigenvalues, components = torch.linalg.eigh(torch.tensor(image_format.covariance, dtype=torch.float64))
    shift = (colours * eigenvalues) @ components.T * 255
    shift = shift.to(images.device, images.dtype)
    return images.add(shift[:, :, None, None])
