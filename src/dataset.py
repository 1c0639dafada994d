"""A split of the data, ready for training, as one safetensors file that carries all that is needed to use it."""

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from src.errors import InputError
from src.files import whole


@dataclass(frozen=True)
class ImageFormat:
    """What a network sees of an image, and the statistics of the training images.

    Attributes:
        classes: their names, in the order of the labels.
        resize: pixels a side after bilinear resizing.
        crop: pixels a side after cropping.
        pixel_scale: the value of a fully lit pixel: 1 or 255.
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
        """The first attribute that differs, with both values, as text; empty when all are equal."""
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


@dataclass(frozen=True)
class Dataset:
    """Images, uint8 [N, 3, 32, 32]; labels, int64 [N]; and how a network sees them."""

    images: Tensor
    labels: Tensor
    format: ImageFormat

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Dataset":
        return Dataset(self.images.to(device), self.labels.to(device), self.format)


def save(path: Path, dataset: Dataset) -> None:
    """Write a split; equal data give equal bytes."""
    tensors = {"images": dataset.images.contiguous(), "labels": dataset.labels.to(torch.uint8)}
    # One metadata entry only: safetensors writes several in no fixed order.
    content = safetensors.torch.save(tensors, metadata={"format": dataset.format.to_json()})
    with whole(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Dataset:
    """Read a split.

    Raises:
        InputError: the file is missing, or is not one that `save` wrote, or has other shapes or labels than a data set.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            format_ = ImageFormat.from_json(file.metadata()["format"])
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
        if images.dtype != torch.uint8 or images.shape != (len(labels), 3, 32, 32):
            raise ValueError(f"images {list(images.shape)} of {images.dtype} for {len(labels)} labels")
        if labels.dtype != torch.uint8 or labels.max() >= len(format_.classes):
            raise ValueError(f"labels of {labels.dtype} up to {labels.max()} for {len(format_.classes)} classes")
        return Dataset(images, labels.long(), format_)
    except (FileNotFoundError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: no data set of this project ({reason}); run `dvc repro preprocess`") from None
