"""The files of the record layout, read together."""

from pathlib import Path

import numpy as np
import pytest

from src.base.errors import InputError
from src.download import records
from src.download.records import CLASSES_FILE, TEST_FILE, TRAIN_FILES
from tests.download.small_archives import NAMES, binary_members, records_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in binary_members().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_all_files_are_read_in_order(folder: Path) -> None:
    classes, train_images, train_labels, test_images, test_labels = records.read(folder, "cifar10")
    assert classes == [name.decode() for name in NAMES]
    train, test = np.concatenate([records_of(file) for file in TRAIN_FILES]), records_of(TEST_FILE)
    for expected, images, labels in ((train, train_images, train_labels), (test, test_images, test_labels)):
        assert images.dtype == labels.dtype == np.uint8
        assert images.shape == (len(expected), 3, 32, 32)
        assert (images.reshape(len(expected), -1) == expected[:, 1:]).all()
        assert (labels == expected[:, 0]).all()


def test_class_names_that_cannot_be_read_are_refused(folder: Path) -> None:
    path = folder / CLASSES_FILE
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"batches.meta.txt: .* can't decode .*; remove the folder"):
        records.read(folder, "cifar10")
    path.unlink()
    with pytest.raises(InputError, match=r"batches.meta.txt: .*No such file .*; remove the folder"):
        records.read(folder, "cifar10")
