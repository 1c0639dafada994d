"""From raw records to the three splits and the statistics of the training images."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from src.cifar10 import RECORDS, TEST_FILE, TRAIN_FILES, read_classes, read_records
from src.dataset import Dataset, ImageFormat
from src.errors import InputError
from src.images import ImageParams, centre_crop, resize
from src.params import Section

PART = 1000  # images at a time: PyTorch sums uint8 in a copy that is eight times as large


class PreprocessParams(Section):
    """`preprocess` of params.yaml."""

    validation: Annotated[int, Field(ge=1)]
    fraction: Annotated[float, Field(gt=0, le=1)]


def preprocess(
    raw: Path, name: str, params: PreprocessParams, image: ImageParams, seed: int
) -> tuple[Dataset, Dataset, Dataset]:
    """Read, check and split the records in the folder `raw`.

    Returns:
        the training, validation and test splits. The statistics in their format are those of the training split.

    Raises:
        InputError: a file is missing or damaged, or the parameters leave a split without images.
    """
    classes = read_classes(raw)
    parts = [read_records(raw / file, RECORDS[name][file]) for file in TRAIN_FILES]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    test_images, test_labels = read_records(raw / TEST_FILE, RECORDS[name][TEST_FILE])

    if params.validation >= len(labels):
        raise InputError(
            f"params.yaml: preprocess.validation: {params.validation}: "
            f"expected fewer than the {len(labels)} training images"
        )
    generator = np.random.default_rng(seed)
    validation, rest = stratified(np.arange(len(labels)), labels, params.validation, generator)
    train, _ = stratified(rest, labels, max(1, round(params.fraction * len(rest))), generator)

    train_images = images[train]
    seen = torch.from_numpy(train_images)
    image_format = ImageFormat(
        classes=tuple(classes),
        resize=image.resize,
        crop=image.crop,
        pixel_scale=image.pixel_scale,
        mean=channel_mean(seen, image.resize, image.crop),
        covariance=channel_covariance(seen),
    )

    def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Dataset:
        return Dataset(torch.from_numpy(images), torch.from_numpy(labels).long(), image_format)

    return (
        split(train_images, labels[train]),
        split(images[validation], labels[validation]),
        split(test_images, test_labels),
    )


def stratified(
    indices: NDArray[np.int64], labels: NDArray[np.uint8], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` of `indices` at random so that each class keeps its share, as nearly as whole images allow.

    Returns:
        the drawn indices and the others, both in ascending order.
    """
    shuffled = generator.permutation(indices)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Every image gets its place in (0, 1) within its class: the `count` lowest are the same share of each class.
    sizes = np.bincount(labels[by_class])
    sizes = sizes[sizes > 0]
    place = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    drawn = np.zeros(len(by_class), dtype=bool)
    drawn[np.argsort(place, kind="stable")[:count]] = True
    return np.sort(by_class[drawn]), np.sort(by_class[~drawn])


def channel_mean(images: Tensor, size: int, crop: int) -> tuple[float, ...]:
    """The mean of each channel, in 0..1, over uint8 images [N, 3, 32, 32] after resize and crop, to 12 decimals.

    Resize and crop are linear, so the mean of the transformed images is the transform of their mean image: exact,
    and one image is transformed instead of N.
    """
    total = torch.zeros(1, *images.shape[1:], dtype=torch.int64)
    for part in torch.split(images, PART):
        total += part.sum(dim=0, keepdim=True, dtype=torch.int64)
    mean_image = total.double() / len(images)
    mean = centre_crop(resize(mean_image, size), crop).mean(dim=(0, 2, 3)) / 255
    # The last bits depend on the number of threads; without them the file is the same on every machine.
    return tuple(round(value, 12) for value in mean.tolist())


def channel_covariance(images: Tensor) -> tuple[tuple[float, ...], ...]:
    """The covariance of the channels, in 0..1 squared, over all pixels of uint8 images [N, 3, H, W].

    The sums are exact: whole numbers below 2^53 in float64.
    """
    pixels = images.shape[0] * images.shape[2] * images.shape[3]
    total = torch.zeros(3, dtype=torch.float64)
    products = torch.zeros(3, 3, dtype=torch.float64)
    for part in torch.split(images, PART):
        values = part.double().transpose(0, 1).flatten(1)  # [3, pixels of this part]
        total += values.sum(dim=1)
        products += values @ values.T
    mean = total / pixels
    covariance = (products / pixels - torch.outer(mean, mean)) / 255**2
    return tuple(tuple(row) for row in covariance.tolist())
