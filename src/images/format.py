"""How an image becomes the input of a network. The format is stored with every data set and every model."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from src.base.params import Section


class ImageParams(Section):
    """`image` of params.yaml."""

    resize: Annotated[int, Field(ge=32, le=1024)]
    crop: Annotated[int, Field(ge=32, le=1024)]
    pixel_scale: Literal[1, 255]

    @field_validator("crop")
    @classmethod
    def _crop_fits(cls, crop: int, info: ValidationInfo) -> int:
        if crop % 32:
            raise ValueError("expected a multiple of 32, which five poolings can halve")
        if crop > info.data.get("resize", crop):
            raise ValueError(f"expected at most resize, which is {info.data['resize']}")
        return crop


@dataclass(frozen=True)
class ImageFormat:
    """How images are prepared, and the statistics of the training images.

    Attributes:
        classes: their names, in the order of the labels.
        resize: height and width in pixels after bilinear resizing.
        crop: height and width in pixels after cropping.
        pixel_scale: the value of a pixel at full intensity: 1 or 255.
        mean: of each channel over the training images after resize and crop, in 0..1.
        covariance: of the channels over all pixels of the training images, 3 x 3, in 0..1 squared.
    """

    classes: tuple[str, ...]
    resize: int
    crop: int
    pixel_scale: int
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

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
        values = json.loads(text)
        values["classes"], values["mean"] = tuple(values["classes"]), tuple(values["mean"])
        values["covariance"] = tuple(tuple(row) for row in values["covariance"])
        return cls(**values)
