"""The views of a test image (section 3.2): its central square, a grid of squares, or all of it, at some scales."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import PlainValidator
from torch import Tensor

from src.base.errors import InputError
from src.base.params import Section
from src.images.format import LARGEST, SIDE, ImageFormat, is_size, middle_scale
from src.images.transforms import central, normalise, resize_and_crop

GRID = 5
"""Rows and columns of the grid of squares in section 3.2."""

Scales = Literal["auto"] | list[int]


def _scales(value: object) -> object:
    if value == "auto" or (isinstance(value, list) and value and all(map(is_size, value))):
        return value
    raise ValueError(f"expected auto or a list of whole numbers from {SIDE} to {LARGEST}, such as [224, 256, 288]")


class EvaluateParams(Section):
    """`evaluate` of params.yaml."""

    test: Literal["centre", "dense", "crops", "dense_and_crops"]
    scales: Annotated[Scales, PlainValidator(_scales)]
    flip: bool


def evaluation_scales(scales: Scales, image_format: ImageFormat) -> list[int]:
    """The test scales Q of section 3.2: heights and widths of the enlarged image, in pixels.

    Raises:
        InputError: a scale is smaller than the crop, which is the smallest image that the network accepts.
    """
    chosen = [middle_scale(image_format.resize)] if scales == "auto" else scales
    for scale in chosen:
        if scale < image_format.crop:
            raise InputError(
                f"params.yaml: evaluate.scales: {scale}: expected at least image.crop, which is {image_format.crop}"
            )
    return chosen


def centre(images: Tensor, image_format: ImageFormat, scale: int) -> Iterator[Tensor]:
    """The central square of each enlarged image, once: uint8 [B, 3, 32, 32] to float32 [B, 3, crop, crop]."""
    place = central(scale, image_format.crop)
    yield _square(images, image_format, scale, image_format.crop, place, place)


def whole(images: Tensor, image_format: ImageFormat, scale: int) -> Iterator[Tensor]:
    """The whole enlarged images, once: uint8 [B, 3, 32, 32] to float32 [B, 3, side, side].

    `side` is the largest multiple of 32 up to `scale`. The five poolings would leave out the other pixels, all of them
    at the right and at the bottom. Here a border of equal width goes on every side.
    """
    side = scale // 32 * 32
    place = central(scale, side)
    yield _square(images, image_format, scale, side, place, place)


def squares(images: Tensor, image_format: ImageFormat, scale: int) -> Iterator[Tensor]:
    """Squares on a regular grid of each enlarged image, 25 times uint8 [B, 3, 32, 32] to float32 [B, 3, crop, crop].

    There are fewer squares where the places of the grid are closer than a pixel. At `scale` = `crop` there is one.
    """
    room = scale - image_format.crop
    places = sorted({round(room * step / (GRID - 1)) for step in range(GRID)})
    for top in places:
        for left in places:
            yield _square(images, image_format, scale, image_format.crop, top, left)


def _square(images: Tensor, image_format: ImageFormat, scale: int, side: int, top: int, left: int) -> Tensor:
    return normalise(resize_and_crop(images, scale, side, top, left), image_format)
