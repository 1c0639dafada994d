"""How an image becomes the input of a network. The format is stored with every data set and every model."""

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

import torch
from pydantic import Field, PlainValidator, ValidationInfo, field_validator
from torch import Tensor

from src.base.errors import InputError
from src.base.params import Section
from src.base.tensors import check

SIDE = 32
"""Height and width of stored images, in pixels."""
LARGEST = 1024
"""The largest height and width after resizing, in pixels."""

Resize = int | tuple[int, int]
"""The training scale S of section 3.1, in pixels: one size, or the smallest and the largest of a range."""


def scale_range(resize: Resize) -> tuple[int, int]:
    """The smallest and the largest training scale."""
    return (resize, resize) if isinstance(resize, int) else resize


def middle_scale(resize: Resize) -> int:
    """The scale of validation and testing: the training scale, or the middle of its range (section 4.1)."""
    return sum(scale_range(resize)) // 2


def is_size(value: object) -> bool:
    """Whether `value` is a height and width, in pixels, to which images can be enlarged."""
    return type(value) is int and SIDE <= value <= LARGEST


def _resize(value: object) -> Resize:
    if isinstance(value, int) and is_size(value):
        return value
    if isinstance(value, list) and len(value) == 2 and all(map(is_size, value)) and value[0] <= value[1]:
        return value[0], value[1]
    raise ValueError(f"expected a whole number from {SIDE} to {LARGEST}, or a range of them such as [256, 512]")


class ImageParams(Section):
    """`image` of params.yaml."""

    resize: Annotated[Resize, PlainValidator(_resize)]
    crop: Annotated[int, Field(ge=SIDE, le=LARGEST)]
    pixel_scale: Literal[1, 255]

    @field_validator("crop")
    @classmethod
    def _crop_fits(cls, crop: int, info: ValidationInfo) -> int:
        if crop % 32:
            raise ValueError("expected a multiple of 32, because five poolings halve the size")
        smallest, _ = scale_range(info.data.get("resize", crop))
        if crop > smallest:
            raise ValueError(f"expected at most resize, which is {smallest} or more")
        return crop


@dataclass(frozen=True)
class ImageFormat:
    """How images are prepared, and the statistics of the training images.

    Attributes:
        classes: their names, in the order of the labels.
        resize: height and width in pixels after bilinear resizing, or the range from which training draws a size for
            each image.
        crop: height and width in pixels after cropping.
        pixel_scale: the value of a pixel at full intensity: 1 or 255.
        mean: of each channel over the training images after resize and crop, in 0..1.
        covariance: of the channels over all pixels of the training images, 3 x 3, in 0..1 squared.
    """

    classes: tuple[str, ...]
    resize: Resize
    crop: int
    pixel_scale: int
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Lists, as JSON has them, become tuples: a format is a key of caches."""
        for name, value in {
            "classes": tuple(self.classes),
            "resize": tuple(self.resize) if isinstance(self.resize, list) else self.resize,
            "mean": tuple(map(float, self.mean)),
            "covariance": tuple(tuple(map(float, row)) for row in self.covariance),
        }.items():
            object.__setattr__(self, name, value)

    def check(self) -> None:
        """Refuse impossible values. Code that uses a format calls this first.

        Raises:
            InputError: the message has the attribute, its value and what is allowed.
        """
        scales = self.resize if isinstance(self.resize, tuple) else (self.resize, self.resize)
        ordered = len(scales) == 2 and all(map(is_size, scales)) and scales[0] <= scales[1]
        crop_fits = ordered and isinstance(self.crop, int) and 1 <= self.crop <= scales[0]
        allowed = {
            "classes": ("one name or more, all different", 0 < len(self.classes) == len(set(self.classes))),
            "resize": (f"a whole number from {SIDE} to {LARGEST}, or a range of them", ordered),
            "crop": (f"a whole number from 1 to resize ({self.resize})", crop_fits),
            "pixel_scale": ("1 or 255", self.pixel_scale in (1, 255)),
            "mean": ("three numbers in 0..1", len(self.mean) == 3 and not any(v < 0 or v > 1 for v in self.mean)),
            "covariance": (
                "3 x 3 finite numbers",
                [len(row) for row in self.covariance] == [3, 3, 3]
                and all(math.isfinite(value) for row in self.covariance for value in row),
            ),
        }
        for name, (expected, fits) in allowed.items():
            if not fits:
                raise InputError(f"image format: {name}: {getattr(self, name)}, expected {expected}")

    def difference(self, other: "ImageFormat") -> str:
        """The first attribute that differs, with both values, as text. Empty when the formats are equal."""
        for name, value in self.__dict__.items():
            if value != getattr(other, name):
                return f"{name} {value} and {getattr(other, name)}"
        return ""

    def to_json(self) -> str:
        return json.dumps(self.__dict__, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ImageFormat":
        """Raises TypeError or ValueError: the text is not what `to_json` wrote."""
        try:
            return cls(**json.loads(text, parse_constant=_refuse))
        except OverflowError as error:  # a whole number that no float can hold
            raise ValueError(str(error)) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"the image format has {constant}, expected a finite number")


def check_images(images: object, *, array: type[Any] = Tensor, empty: bool = False) -> None:
    """Check images as they are stored: uint8 [N, 3, 32, 32].

    Args:
        array: `Tensor` or `np.ndarray`.
        empty: whether N may be 0.

    Raises:
        InputError: they are something else. The message says how to convert them.
    """
    hint = _conversion(images) if isinstance(images, Tensor) else ""
    check("images", images, "uint8", ("N", 3, SIDE, SIDE), array=array, empty=empty, limits="in 0..255", hint=hint)


def _conversion(images: Tensor) -> str:
    """How other kinds of images become those of `check_images`."""
    if images.ndim == 3:
        return "for a single image use images[None]"
    if images.ndim == 4 and images.shape[1] == 1:
        return "for grey images use images.expand(-1, 3, -1, -1)"
    if images.ndim == 4 and images.shape[3] == 3:
        return "put the channels first with images.permute(0, 3, 1, 2)"
    if images.shape[1:] != (3, SIDE, SIDE):
        return f"make them colour images of {SIDE} x {SIDE} pixels first"
    if not len(images):
        return "give at least one image"
    if images.dtype == torch.bool:
        return "for black and white use images.to(torch.uint8) * 255"
    if images.is_floating_point():
        return "for floats in 0..1 use (images * 255).round().to(torch.uint8)"
    return "for integers in 0..255 use images.to(torch.uint8)"
