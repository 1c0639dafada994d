"""Records, splits and statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from src.base.errors import InputError
from src.download import records
from src.download.records import CLASSES_FILE, RECORD_BYTES, TEST_FILE, TRAIN_FILES, read_classes, read_records
from src.images.dataset import Dataset
from src.images.format import ImageParams
from src.images.preprocessing import PreprocessParams, channel_covariance, channel_mean, preprocess, stratified

CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def write_records(path: Path, count: int, seed: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    content = generator.integers(0, 256, (count, RECORD_BYTES), dtype=np.uint8)
    content[:, 0] = generator.permutation(count) % 10
    content.tofile(path)
    return content


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of raw records in the layout of CIFAR-10: 5 x 100 training and 60 test images of noise."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for seed, name in enumerate((*TRAIN_FILES, TEST_FILE)):
        write_records(folder / name, 60 if name == TEST_FILE else 100, seed)
    (folder / CLASSES_FILE).write_text("\n".join(CLASSES) + "\n\n", encoding="utf-8")
    counts = {**dict.fromkeys(TRAIN_FILES, 100), TEST_FILE: 60}
    monkeypatch.setattr(records, "RECORDS", {"cifar10": counts})
    return folder


def run(raw: Path, validation: int = 100, fraction: float = 1.0, seed: int = 0) -> tuple[Dataset, Dataset, Dataset]:
    """Training, validation and test split, as the stage makes them."""
    image = ImageParams(resize=36, crop=32, pixel_scale=1)
    params = PreprocessParams(validation=validation, fraction=fraction)
    classes, images, labels, test_images, test_labels = records.read(raw, "cifar10")
    train, rest = preprocess(images, labels, classes, params=params, image=image, seed=seed)
    return train, rest, Dataset.from_arrays(test_images, test_labels, train.format)


def keys(dataset: Dataset) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.images}


def counts(dataset: Dataset) -> list[int]:
    return torch.bincount(dataset.labels, minlength=10).tolist()


def test_records_are_read_as_documented(tmp_path: Path) -> None:
    """Label, then the red, green and blue plane, row by row."""
    record = np.zeros(RECORD_BYTES, dtype=np.uint8)
    record[0] = 7
    record[1 + 0 * 1024 + 2 * 32 + 3] = 10  # red of row 2, column 3
    record[1 + 2 * 1024 + 31 * 32 + 0] = 20  # blue of row 31, column 0
    record.tofile(tmp_path / "one.bin")
    images, labels = read_records(tmp_path / "one.bin", 1)
    assert labels.tolist() == [7]
    assert (images[0, 0, 2, 3], images[0, 2, 31, 0], int(images.sum())) == (10, 20, 30)


def test_splits_have_every_image_once(raw: Path) -> None:
    train, validation, test = run(raw)
    assert (len(train), len(validation), len(test)) == (400, 100, 60)
    files = [read_records(raw / name, 100) for name in TRAIN_FILES]
    everything = {
        image.tobytes(): label for images, labels in files for image, label in zip(images, labels, strict=True)
    }
    assert keys(train) | keys(validation) == set(everything)
    for split in (train, validation):
        for image, label in zip(split.images, split.labels.tolist(), strict=True):
            assert everything[image.numpy().tobytes()] == label
    images, labels = read_records(raw / TEST_FILE, 60)
    assert np.array_equal(test.images.numpy(), images)
    assert np.array_equal(test.labels.numpy(), labels)


def test_splits_are_stratified(raw: Path) -> None:
    train, validation, _ = run(raw, fraction=0.5)
    assert counts(validation) == [10] * 10
    assert counts(train) == [20] * 10


def test_fraction_leaves_validation_and_test_whole(raw: Path) -> None:
    train, validation, test = run(raw)
    some, same_validation, same_test = run(raw, fraction=0.25)
    assert len(some) == 100
    assert keys(some) < keys(train)
    assert torch.equal(same_validation.images, validation.images)
    assert torch.equal(same_test.images, test.images)


def test_the_seed_decides_the_split(raw: Path) -> None:
    assert keys(run(raw)[1]) == keys(run(raw)[1])
    assert keys(run(raw)[1]) != keys(run(raw, seed=1)[1])


@pytest.mark.parametrize("count", [1, 7, 33, 100])
def test_unequal_classes_keep_their_shares(count: int) -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), [60, 30, 10])
    drawn, others = stratified(np.arange(100), labels, count, np.random.default_rng(0))
    assert len(drawn) == count
    assert sorted([*drawn, *others]) == list(range(100))
    shares = np.bincount(labels[drawn], minlength=3)
    assert np.abs(shares - count * np.array([0.6, 0.3, 0.1])).max() <= 1


@pytest.mark.parametrize(("size", "crop"), [(32, 32), (36, 32), (256, 224)])
def test_channel_mean_is_that_of_what_the_network_sees(size: int, crop: int) -> None:
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, :, :4] = 255  # the border counts less after the crop
    place = round((size - crop) / 2)
    enlarged = F.interpolate(images.double(), (size, size), mode="bilinear")
    brute_force = enlarged[..., place : place + crop, place : place + crop].mean(dim=(0, 2, 3)) / 255
    assert channel_mean(images, size, crop) == pytest.approx(brute_force.tolist(), abs=2e-12)


def test_statistics_do_not_depend_on_the_number_of_threads() -> None:
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = set()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.add((channel_mean(images, 256, 224), channel_covariance(images)))
    assert len(found) == 1


def test_covariance_is_that_of_all_pixels() -> None:
    images = torch.randint(0, 256, (1500, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 1] = images[:, 0] // 2
    pixels = images.double().permute(1, 0, 2, 3).flatten(1) / 255
    expected = pixels.cov(correction=0)
    torch.testing.assert_close(torch.tensor(channel_covariance(images), dtype=torch.float64), expected)


def test_statistics_are_those_of_the_training_split(raw: Path) -> None:
    train, validation, test = run(raw, fraction=0.1)
    assert train.format.mean == channel_mean(train.images, 36, 32)
    assert train.format == validation.format == test.format
    assert train.format.classes == tuple(CLASSES)


@pytest.mark.parametrize("size", [0, 1, 3072, 3073 * 99, 3073 * 100 - 1, 3073 * 100 + 1, 3073 * 101])
def test_files_of_another_length_are_refused(raw: Path, size: int) -> None:
    path = raw / TRAIN_FILES[2]
    path.write_bytes((path.read_bytes() * 2)[:size])
    with pytest.raises(InputError, match=rf"data_batch_3.bin: {size:,} bytes, expected 307,300"):
        run(raw)


def test_labels_above_nine_are_refused(raw: Path) -> None:
    path = raw / TEST_FILE
    content = bytearray(path.read_bytes())
    content[3073 * 5] = 10
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"test_batch.bin: record 5 has label 10, expected 0..9"):
        run(raw)


def test_missing_files_are_refused(raw: Path) -> None:
    (raw / TRAIN_FILES[4]).unlink()
    with pytest.raises(InputError, match=r"data_batch_5.bin: not found; run `dvc repro download`"):
        run(raw)


@pytest.mark.parametrize("text", ["", "one two", "a b c d e f g h i i", "a b c d e f g h i j k"])
def test_class_names_are_ten_different_ones(tmp_path: Path, text: str) -> None:
    (tmp_path / CLASSES_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="expected 10 different ones"):
        read_classes(tmp_path)


def test_validation_leaves_training_images(raw: Path) -> None:
    with pytest.raises(InputError, match=r"preprocess.validation: 500: expected fewer than the 500 training images"):
        run(raw, validation=500)


def test_a_tiny_fraction_leaves_one_image(raw: Path) -> None:
    assert len(run(raw, fraction=1e-9)[0]) == 1
