"""Images and labels of any other kind are refused in one line, wherever they come in."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.base.errors import InputError
from src.compute.seeds import generator_of
from src.images import dataset
from src.images.augmentation import AugmentParams, augment, colour_shift, draw, random_flip, scale_and_crop
from src.images.dataset import Dataset
from src.images.format import ImageFormat, ImageParams
from src.images.preprocessing import PreprocessParams, channel_covariance, channel_mean, preprocess
from src.images.transforms import normalise, prepare
from tests.conftest import FORMAT, NO_AUGMENT, coloured_squares

DATA = coloured_squares(20)
IMAGES, LABELS = DATA.images, DATA.labels
DRAWS = draw(20, FORMAT, generator_of("augmentation", 0))
ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)

WRONG: dict[str, tuple[Any, str]] = {
    "floats in 0..1": (
        IMAGES / 255,
        "float32 [20, 3, 32, 32], expected uint8 [N, 3, 32, 32] in 0..255; "
        "for floats in 0..1 use (images * 255).round().to(torch.uint8)",
    ),
    "float64": (IMAGES.double(), "float64 [20, 3, 32, 32], expected uint8"),
    "bfloat16": (IMAGES.bfloat16(), "bfloat16 [20, 3, 32, 32], expected uint8"),
    "uint16": (
        IMAGES.to(torch.uint16),
        "uint16 [20, 3, 32, 32], expected uint8 [N, 3, 32, 32] in 0..255; for integers",
    ),
    "int64": (IMAGES.long(), "int64 [20, 3, 32, 32], expected uint8 [N, 3, 32, 32] in 0..255; for integers in 0..255"),
    "int8": (IMAGES.to(torch.int8), "int8 [20, 3, 32, 32], expected uint8"),
    "bool": (IMAGES > 100, "bool [20, 3, 32, 32], expected uint8"),
    "channels last": (
        IMAGES.permute(0, 2, 3, 1),
        "uint8 [20, 32, 32, 3], expected uint8 [N, 3, 32, 32] in 0..255; put",
    ),
    "grey": (IMAGES[:, :1], "uint8 [20, 1, 32, 32], expected uint8 [N, 3, 32, 32] in 0..255; for grey images use"),
    "with alpha": (torch.cat([IMAGES, IMAGES[:, :1]], dim=1), "uint8 [20, 4, 32, 32], expected uint8 [N, 3, 32, 32]"),
    "a single image": (IMAGES[0], "uint8 [3, 32, 32], expected uint8 [N, 3, 32, 32] in 0..255; for a single image use"),
    "rows of pixels": (IMAGES.flatten(1), "uint8 [20, 3072], expected uint8 [N, 3, 32, 32] in 0..255; make them"),
    "another size": (
        IMAGES[..., :28, :28],
        "uint8 [20, 3, 28, 28], expected uint8 [N, 3, 32, 32] in 0..255; make them",
    ),
    "NumPy": (IMAGES.numpy(), "NumPy array uint8 [20, 3, 32, 32], expected a tensor, uint8 [N, 3, 32, 32]"),
    "a list": ([IMAGES], "a list, expected a tensor, uint8 [N, 3, 32, 32] in 0..255"),
}
EMPTY = {
    "no image": (IMAGES[:0], "uint8 [0, 3, 32, 32], expected uint8 [N, 3, 32, 32] in 0..255; give at least one image")
}


def refusal(use: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        use()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", WRONG | EMPTY)
def test_images_are_uint8_of_32_pixels(kind: str) -> None:
    images, message = (WRONG | EMPTY)[kind]
    uses: list[Callable[[], object]] = [
        lambda: prepare(images, FORMAT),
        lambda: prepare(images, replace(FORMAT, resize=40)),
        lambda: Dataset(images, LABELS[: len(images)], FORMAT),
        lambda: channel_mean(images, 32, 32),
    ]
    if kind in WRONG:  # the share of a process in a small batch may be empty
        uses += [
            lambda: augment(images, FORMAT, NO_AUGMENT, DRAWS),
            lambda: augment(images, FORMAT, ALL, DRAWS),
            lambda: scale_and_crop(images, FORMAT, True, DRAWS),
        ]
    for use in uses:
        assert refusal(use).startswith(f"images: {message}")


@pytest.mark.parametrize("kind", ["floats in 0..1", "uint16", "int64", "channels last", "grey", "a single image"])
def test_arrays_are_uint8_of_32_pixels(kind: str) -> None:
    images, labels = WRONG[kind][0].numpy(), LABELS.numpy().astype(np.uint8)
    params, image = PreprocessParams(validation=10, fraction=1.0), ImageParams(resize=32, crop=32, pixel_scale=1)
    for use in (
        lambda: preprocess(images, labels, FORMAT.classes, params=params, image=image, seed=0),
        lambda: Dataset.from_arrays(images, labels, FORMAT),
    ):
        message = refusal(use)
        assert message.startswith(
            f"images: NumPy array {images.dtype} {list(images.shape)}, expected uint8 [N, 3, 32, 32]"
        )


def test_arrays_are_no_tensors() -> None:
    message = refusal(lambda: Dataset.from_arrays(IMAGES, LABELS.numpy(), FORMAT))  # type: ignore[arg-type]
    assert message.endswith("expected a NumPy array, uint8 [N, 3, 32, 32] in 0..255; use images.numpy()")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.float(), "labels: float32 [20], expected int64 [20] in 0..9; one class index per image"),
        (LABELS.to(torch.uint8), "labels: uint8 [20], expected int64 [20]"),
        (LABELS[:19], "labels: int64 [19], expected int64 [20]"),
        (torch.eye(10, dtype=torch.int64)[LABELS], "labels: int64 [20, 10], expected int64 [20]"),
        (LABELS + 1, "labels: 1..10, expected int64 in 0..9: the index of one of 10 classes"),
        (LABELS - 1, "labels: -1..8, expected int64 in 0..9"),
        (
            LABELS.numpy(),
            "labels: NumPy array int64 [20], expected a tensor, int64 [20] in 0..9; use torch.from_numpy(labels)",
        ),
        (LABELS.tolist(), "labels: a list, expected a tensor, int64 [20]"),
    ],
)
def test_labels_are_indices_of_classes(labels: Any, message: str) -> None:
    assert refusal(lambda: Dataset(IMAGES, labels, FORMAT)).startswith(message)
    assert refusal(lambda: replace(DATA, labels=labels)).startswith(message)


@pytest.mark.parametrize(
    "labels",
    [np.arange(20), np.full(20, 10, np.uint8), np.zeros((20, 1), np.uint8), np.zeros(19, np.uint8), np.zeros(20)],
    ids=["int64", "10", "column", "19", "float64"],
)
def test_arrays_of_labels_are_indices_of_classes(labels: Any) -> None:
    images = IMAGES.numpy()
    params, image = PreprocessParams(validation=10, fraction=1.0), ImageParams(resize=32, crop=32, pixel_scale=1)
    for use in (
        lambda: preprocess(images, labels, FORMAT.classes, params=params, image=image, seed=0),
        lambda: Dataset.from_arrays(images, labels, FORMAT),
    ):
        assert refusal(use).startswith("labels: ")


def test_what_a_label_cannot_hold_is_not_written(tmp_path: Path) -> None:
    many = replace(DATA, format=replace(FORMAT, classes=tuple(map(str, range(257)))))
    assert "257 classes, expected at most 256" in refusal(lambda: dataset.save(tmp_path / "data", many))
    assert not list(tmp_path.iterdir())
    dataset.save(tmp_path / "data", replace(DATA, format=replace(FORMAT, classes=many.format.classes[:256])))


def test_parts_of_augmentation_check_what_they_get() -> None:
    floats = IMAGES.float()
    assert refusal(lambda: colour_shift(IMAGES, FORMAT, DRAWS.colours)).startswith("images: uint8 [20, 3, 32, 32], exp")
    assert refusal(lambda: colour_shift(floats[:, :1], FORMAT, DRAWS.colours)).startswith("images: float32 [20, 1, 32")
    assert refusal(lambda: colour_shift(floats, FORMAT, DRAWS.colours[:1])).startswith(
        "colours: float64 [1, 3], expected"
    )
    assert refusal(lambda: random_flip(floats, DRAWS.mirrored[:1])).startswith("mirrored: bool [1], expected bool [20]")
    assert refusal(lambda: random_flip(floats, DRAWS.top)).startswith("mirrored: int64 [20], expected bool [20]")
    assert refusal(lambda: normalise(IMAGES, FORMAT)).startswith("images: uint8 [20, 3, 32, 32], expected float32")
    assert refusal(lambda: channel_covariance(floats)).startswith("images: float32 [20, 3, 32, 32], expected uint8")


def test_a_check_reads_no_value() -> None:
    """On a GPU it would wait for the step before. A tensor of the meta device has no values."""
    assert prepare(IMAGES.to("meta"), FORMAT).shape == (20, 3, 32, 32)


@pytest.mark.parametrize("change", [{"resize": 10**30}, {"resize": 10**30, "crop": 10**30}, {"resize": [32, 10**30]}])
def test_sizes_that_no_image_has_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^image format: resize: .*, expected a whole number from 32 to 1024"):
        replace(FORMAT, **change).check()


@pytest.mark.parametrize("key", ["mean", "covariance"])
def test_numbers_that_no_float_can_hold_are_an_error_of_the_value(key: str) -> None:
    large = [[10**400] * 3] * 3 if key == "covariance" else [10**400] * 3
    with pytest.raises(ValueError, match="too large"):
        ImageFormat.from_json(json.dumps(json.loads(FORMAT.to_json()) | {key: large}))
