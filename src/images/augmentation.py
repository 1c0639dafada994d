"""Random scale, crop, flip and colour shift of training images (section 3.1)."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from src.base.params import Section
from src.base.tensors import check, send
from src.images.format import ImageFormat, check_images, scale_range
from src.images.transforms import central, normalise, resize_and_crop


class AugmentParams(Section):
    """`augment` of params.yaml."""

    random_crop: bool
    flip: bool
    colour_shift: bool


class AugmentationDraws(NamedTuple):
    """The random numbers of augmentation, one row per image, on the CPU: equal for all devices."""

    size: Tensor  # int64 [B], of the enlarged image, in pixels
    top: Tensor  # int64 [B], of a random crop of it
    left: Tensor  # int64 [B]
    mirrored: Tensor  # bool [B]
    colours: Tensor  # float64 [B, 3], N(0, 0.1^2)

    def of(self, part: slice) -> "AugmentationDraws":
        """The rows of the images of one process."""
        return AugmentationDraws(*(numbers[part] for numbers in self))


def draw(count: int, image_format: ImageFormat, generator: torch.Generator) -> AugmentationDraws:
    """The numbers for a whole batch of `count` images, whichever part of it a process augments."""
    smallest, largest = scale_range(image_format.resize)
    size = torch.randint(smallest, largest + 1, (count,), generator=generator)
    places = size - image_format.crop + 1
    top, left = (torch.rand(2, count, generator=generator, dtype=torch.float64) * places).long()
    return AugmentationDraws(
        size=size,
        top=top,
        left=left,
        mirrored=torch.rand(count, generator=generator) < 0.5,
        colours=torch.randn(count, 3, generator=generator, dtype=torch.float64) * 0.1,
    )


def augment(images: Tensor, image_format: ImageFormat, params: AugmentParams, draws: AugmentationDraws) -> Tensor:
    """The input of a network in training: uint8 images [B, 3, 32, 32] to float32 [B, 3, crop, crop].

    B may be 0: in a small batch, a process may have no image. Nothing here waits for a GPU.

    Raises:
        InputError: the images or the format are something else, or there is not one draw per image.
    """
    image_format.check()
    crop = scale_and_crop(images, image_format, params.random_crop, draws)
    if params.flip:
        crop = random_flip(crop, draws.mirrored)
    if params.colour_shift:
        crop = colour_shift(crop, image_format, draws.colours)
    return normalise(crop, image_format)


def scale_and_crop(images: Tensor, image_format: ImageFormat, random_crop: bool, draws: AugmentationDraws) -> Tensor:
    """A square of each enlarged image: uint8 [B, 3, 32, 32] to float32 [B, 3, crop, crop] in 0..255.

    Without a range of sizes all images have one size. Without random crops the squares are central.
    """
    check_images(images, empty=True)
    for name in ("size", "top", "left"):
        check(name, getattr(draws, name), "int64", (len(images),), empty=True)
    crop, (smallest, largest) = image_format.crop, scale_range(image_format.resize)
    if smallest == largest and not random_crop:
        place = central(smallest, crop)
        return resize_and_crop(images, smallest, crop, place, place)
    top, left = (draws.top, draws.left) if random_crop else [((draws.size - crop) / 2).round().long()] * 2
    size, top, left = send(torch.stack([draws.size, top, left]), images.device)
    return resize_and_crop(images, size, crop, top, left)


def random_flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """The images, float32 [B, 3, H, W], mirrored left to right where `mirrored`, bool [B] on the CPU, is true."""
    check("images", images, "float32", ("B", 3, "H", "W"), empty=True)
    check("mirrored", mirrored, "bool", (len(images),), empty=True)
    return torch.where(send(mirrored, images.device).view(-1, 1, 1, 1), images.flip(-1), images)


def colour_shift(images: Tensor, image_format: ImageFormat, colours: Tensor) -> Tensor:
    """Add to each image, in 0..255, a random multiple of the principal components of the training pixels' colours.

    Krizhevsky et al. (2012), section 4.1: the components times their eigenvalues times `colours`, N(0, 0.1^2). The
    eigenvalues are those of pixels in 0..1. Their product with a component depends on the unit: in 0..255 a typical
    shift would exceed the whole range.

    Args:
        images: float32 [B, 3, H, W].
        colours: float64 [B, 3], on the CPU.
    """
    check("images", images, "float32", ("B", 3, "H", "W"), empty=True)
    check("colours", colours, "float64", (len(images), 3), empty=True)
    eigenvalues, components = principal_components(image_format)
    shift = (colours * eigenvalues) @ components.T * 255
    return images.add(send(shift.to(images.dtype), images.device)[:, :, None, None])


@lru_cache
def principal_components(image_format: ImageFormat) -> tuple[Tensor, Tensor]:
    """Eigenvalues [3] and components [3, 3] of the covariance of colours, float64 on the CPU, from the first call."""
    image_format.check()
    with torch.inference_mode(False):
        values, vectors = torch.linalg.eigh(torch.tensor(image_format.covariance, dtype=torch.float64, device="cpu"))
    return values, vectors
