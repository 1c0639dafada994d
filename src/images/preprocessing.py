"""The three splits, and the statistics of the training images."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from src.base.errors import InputError
from src.base.params import Section
from src.base.tensors import check, check_labels
from src.images.dataset import Dataset
from src.images.format import ImageFormat, ImageParams, check_images, middle_scale
from src.images.transforms import central, resize_weights

CHUNK = 1000  # images that are summed at a time: PyTorch sums uint8 in a copy that is eight times as large


class PreprocessParams(Section):
    """`preprocess` of params.yaml."""

    validation: Annotated[int, Field(ge=1)]
    fraction: Annotated[float, Field(gt=0, le=1)]


def preprocess(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    *,
    params: PreprocessParams,
    image: ImageParams,
    seed: int,
) -> tuple[Dataset, Dataset]:
    """Split the training images into training and validation, and measure the training split.

    Args:
        images: uint8 [N, 3, 32, 32].
        labels: uint8 [N], in 0..classes-1.
        classes: the names of the classes, in the order of the labels.

    Returns:
        the training and the validation split. The format of both has the statistics of the training split.

    Raises:
        InputError: images or labels are something else, or the parameters leave no image to train on.
    """
    check_images(images, array=np.ndarray)
    check_labels(labels, len(images), len(classes), dtype="uint8", array=np.ndarray)
    if params.validation >= len(labels):
        raise InputError(
            f"params.yaml: preprocess.validation: {params.validation}: "
            f"expected fewer than the {len(labels)} training images"
        )
    generator = np.random.default_rng(seed)
    validation, rest = stratified(np.arange(len(labels)), labels, params.validation, generator)
    train, _ = stratified(rest, labels, max(1, round(params.fraction * len(rest))), generator)

    train_images = torch.from_numpy(images[train])
    image_format = ImageFormat(
        classes=tuple(classes),
        resize=image.resize,
        crop=image.crop,
        pixel_scale=image.pixel_scale,
        mean=channel_mean(train_images, middle_scale(image.resize), image.crop),
        covariance=channel_covariance(train_images),
    )
    return (
        Dataset(train_images, torch.from_numpy(labels[train]).long(), image_format),
        Dataset.from_arrays(images[validation], labels[validation], image_format),
    )


def stratified(
    indices: NDArray[np.int64], labels: NDArray[np.uint8], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` of `indices` at random, so that each class keeps its share up to rounding.

    Returns:
        the drawn indices and the others, both in ascending order.
    """
    shuffled = generator.permutation(indices)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Each image gets a place in (0, 1) within its class. The `count` lowest places are the same share of each class.
    sizes = np.bincount(labels[by_class])
    sizes = sizes[sizes > 0]
    place = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    drawn = np.zeros(len(by_class), dtype=bool)
    drawn[np.argsort(place, kind="stable")[:count]] = True
    return np.sort(by_class[drawn]), np.sort(by_class[~drawn])


def channel_mean(images: Tensor, size: int, crop: int) -> tuple[float, ...]:
    """The mean of each channel, in 0..1, over uint8 images [N, 3, 32, 32] after resize and crop, to 12 decimals.

    Resize and crop are linear. The mean of the transformed images is therefore exactly the transform of the mean image,
    and only one image has to be transformed.
    """
    check_images(images)
    total = torch.zeros(images.shape[1:], dtype=torch.int64)
    for chunk in torch.split(images, CHUNK):
        total += chunk.sum(dim=0, dtype=torch.int64)
    weights = resize_weights(size, central(size, crop), crop, images.device)
    mean = (weights.T @ (total.double() / len(images)) @ weights).mean(dim=(1, 2)) / 255
    # The last bits depend on the number of threads. Without them the file is the same on every machine.
    return tuple(round(value, 12) for value in mean.tolist())


def channel_covariance(images: Tensor) -> tuple[tuple[float, ...], ...]:
    """The covariance of the channels, in 0..1 squared, over all pixels of uint8 images [N, 3, H, W].

    The sums are exact: they are whole numbers below 2^53, in float64.
    """
    check("images", images, "uint8", ("N", 3, "H", "W"))
    pixels = images.shape[0] * images.shape[2] * images.shape[3]
    total = torch.zeros(3, dtype=torch.float64)
    products = torch.zeros(3, 3, dtype=torch.float64)
    for chunk in torch.split(images, CHUNK):
        values = chunk.double().transpose(0, 1).flatten(1)  # [3, pixels of this chunk]
        total += values.sum(dim=1)
        products += values @ values.T
    mean = total / pixels
    covariance = (products / pixels - torch.outer(mean, mean)) / 255**2
    return tuple(tuple(row) for row in covariance.tolist())
