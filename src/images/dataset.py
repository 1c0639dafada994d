"""A split of the data as one safetensors file, with the image format that is needed to use it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.base.errors import InputError
from src.base.files import atomic_write
from src.images.format import ImageFormat


@dataclass(frozen=True)
class Dataset:
    """Images, uint8 [N, 3, 32, 32]; labels, int64 [N]; and the format in which a network sees the images."""

    images: Tensor
    labels: Tensor
    format: ImageFormat

    @classmethod
    def from_arrays(cls, images: NDArray[np.uint8], labels: NDArray[np.uint8], format_: ImageFormat) -> "Dataset":
        return cls(torch.from_numpy(images), torch.from_numpy(labels).long(), format_)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Dataset":
        return Dataset(self.images.to(device), self.labels.to(device), self.format)


def save(path: Path, dataset: Dataset) -> None:
    """Write a split. Equal data give equal bytes."""
    tensors = {"images": dataset.images.contiguous(), "labels": dataset.labels.to(torch.uint8)}
    # One metadata entry only: safetensors writes several entries in no fixed order.
    content = safetensors.torch.save(tensors, metadata={"format": dataset.format.to_json()})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Dataset:
    """Read a split.

    Raises:
        InputError: the file is missing, was not written by `save`, or has shapes or labels that do not fit together.
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
        raise InputError(f"{path}: not a data set of this project ({reason}); run `dvc repro preprocess`") from None
