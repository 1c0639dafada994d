"""The record layout of the binary version of CIFAR-10: five training files, one test file, one file of class names.

A record is 3,073 bytes: the label, then the 32 x 32 pixels of red, then of green, then of blue, row by row
(https://www.cs.toronto.edu/~kriz/cifar.html). scikit-learn's handwritten digits are stored in the same layout.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from src.base.errors import InputError
from src.base.files import named
from src.base.params import Section

TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE = "test_batch.bin"
CLASSES_FILE = "batches.meta.txt"
RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS = {
    "cifar10": dict.fromkeys((*TRAIN_FILES, TEST_FILE), 10_000),
    "digits": {**dict.fromkeys(TRAIN_FILES, 300), TEST_FILE: 297},
}
"""Records in each file, by `dataset.name`."""


class DatasetParams(Section):
    """`dataset` of params.yaml. The name alone decides which records a run sees."""

    name: Literal["cifar10", "digits"]

    @model_validator(mode="before")
    @classmethod
    def _without_sha256(cls, values: Any) -> Any:
        """Refuse the key `dataset.sha256` of earlier versions, which listed archives."""
        if isinstance(values, dict) and "sha256" in values:
            raise ValueError(
                "sha256: unknown parameter; the project has no such key any more, because it checks the content of "
                "CIFAR-10; remove the key and the values below it"
            )
        return values


class Records(NamedTuple):
    """All records of a data set: images uint8 [N, 3, 32, 32], labels uint8 [N], and the classes in label order."""

    classes: list[str]
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


def read(folder: Path, name: str) -> Records:
    """Read and check all files of a data set.

    Args:
        name: `dataset.name`, which says how many records each file must hold.

    Raises:
        InputError: a file is missing or damaged.
    """
    parts = [read_records(folder / file, RECORDS[name][file]) for file in TRAIN_FILES]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Records(read_classes(folder), images, labels, *read_records(folder / TEST_FILE, RECORDS[name][TEST_FILE]))


def read_classes(folder: Path) -> list[str]:
    """The names of the classes, in the order of the labels.

    Raises:
        InputError: the file is missing, is not UTF-8, or does not name exactly ten classes.
    """
    path = folder / CLASSES_FILE
    try:
        with named(path):
            names = path.read_text(encoding="utf-8").split()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; remove the folder and run `dvc repro` again") from None
    if len(names) != 10 or len(set(names)) != 10:
        raise InputError(
            f"{path}: names {len(names)} classes, expected 10 different ones; "
            "remove the folder and run `dvc repro` again"
        )
    return names


def read_records(path: Path, records: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one file of records.

    Args:
        path: a `.bin` file.
        records: how many it must hold.

    Returns:
        images, uint8 [N, 3, 32, 32], and labels, uint8 [N].

    Raises:
        InputError: the file is missing, has another length, or a label above 9.
    """
    try:
        with named(path):
            content = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `dvc repro download`") from None
    if content.size != records * RECORD_BYTES:
        raise InputError(
            f"{path}: {content.size:,} bytes, expected {records * RECORD_BYTES:,} ({records:,} records of "
            f"{RECORD_BYTES:,}); remove the folder and run `dvc repro` again"
        )
    content = content.reshape(records, RECORD_BYTES)
    labels = content[:, 0].copy()
    if labels.max() > 9:
        record = int(labels.argmax())
        raise InputError(
            f"{path}: record {record} has label {labels[record]}, expected 0..9; "
            "remove the folder and run `dvc repro` again"
        )
    return content[:, 1:].reshape(records, 3, 32, 32).copy(), labels
