"""A split of the data as one safetensors file, with the image format that is needed to use it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.base.errors import InputError, out_of_memory
from src.base.files import atomic_write
from src.base.tensors import check, check_labels
from src.images.format import ImageFormat, check_images


@dataclass(frozen=True)
class Dataset:
    """Images, uint8 [N, 3, 32, 32]; labels, int64 [N]; and the format in which a network sees the images.

    Raises:
        InputError: images, labels or format are something else. Labels are in 0..classes-1, and N is at least 1.
    """

    images: Tensor
    labels: Tensor
    format: ImageFormat

    def __post_init__(self) -> None:
        self.format.check()
        check_images(self.images)
        check_labels(self.labels, len(self.images), len(self.format.classes))

    @classmethod
    def from_arrays(cls, images: NDArray[np.uint8], labels: NDArray[np.uint8], format_: ImageFormat) -> "Dataset":
        """From uint8 images [N, 3, 32, 32] and uint8 labels [N], which are checked in the same way."""
        check_images(images, array=np.ndarray)
        check_labels(labels, len(images), len(format_.classes), dtype="uint8", array=np.ndarray)
        images, labels = (np.require(array, requirements=["C", "W"]) for array in (images, labels))
        return cls(torch.from_numpy(images), torch.from_numpy(labels).long(), format_)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Dataset":
        return Dataset(self.images.to(device), self.labels.to(device), self.format)


def save(path: Path, dataset: Dataset) -> None:
    """Write a split. Equal data give equal bytes.

    Raises:
        InputError: there are more than 256 classes. A label is one byte, as in the records of CIFAR-10.
    """
    if len(dataset.format.classes) > 256:
        raise InputError(f"{path}: {len(dataset.format.classes)} classes, expected at most 256: a label is one byte")
    tensors = {"images": dataset.images.cpu().contiguous(), "labels": dataset.labels.cpu().to(torch.uint8)}
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
        check("labels", labels, "uint8", (len(images),))
        return Dataset(images, labels.long(), format_)
    except (InputError, OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if line := out_of_memory(error):
            raise line from None
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a data set of this project ({reason}); run `dvc repro preprocess`") from None
