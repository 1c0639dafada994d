"""The order of the training images, and which random numbers augment them."""

from dataclasses import replace

import torch

from src.compute.seeds import generator_of
from src.images.augmentation import AugmentParams, augment, draw
from src.images.batches import in_order, shuffled
from src.images.dataset import Dataset
from src.images.transforms import prepare
from tests.conftest import FORMAT, NO_AUGMENT, coloured_squares

ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)


def numbered(count: int) -> Dataset:
    """Images that can be told apart by their first pixel, with labels that go with them."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count, dtype=torch.uint8)
    return Dataset(images, torch.arange(count), replace(FORMAT, classes=tuple(map(str, range(count)))))


def first_pixels(images: torch.Tensor) -> torch.Tensor:
    return ((images[:, 0, 0, 0] + FORMAT.mean[0]) * 255).round().long()


def test_an_epoch_has_every_image_once_with_its_label() -> None:
    batches = list(shuffled(numbered(50), 16, NO_AUGMENT, seed=1, epoch=1))
    assert [len(labels) for _, labels, _ in batches] == [16, 16, 16, 2]
    labels = torch.cat([labels for _, labels, _ in batches])
    assert labels.sort().values.tolist() == list(range(50))
    assert torch.equal(torch.cat([first_pixels(images) for images, _, _ in batches]), labels)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [
            i
            for _, labels, _ in shuffled(numbered(50), 16, NO_AUGMENT, seed=seed, epoch=epoch)
            for i in labels.tolist()
        ]

    torch.manual_seed(5)
    first = order(1, 1)
    torch.manual_seed(6)  # the global generator has no say
    assert order(1, 1) == first
    assert order(1, 2) != first
    assert order(2, 1) != first


def test_augmentation_is_a_function_of_seed_epoch_and_step() -> None:
    data = coloured_squares(20)
    data = Dataset(data.images, data.labels, replace(FORMAT, resize=40))
    once = [images for images, _, _ in shuffled(data, 8, ALL, seed=3, epoch=2)]
    again = [images for images, _, _ in shuffled(data, 8, ALL, seed=3, epoch=2)]
    plain = [images for images, _, _ in shuffled(data, 8, NO_AUGMENT, seed=3, epoch=2)]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, plain, strict=True))


def test_an_interrupted_epoch_goes_on_with_the_same_batches() -> None:
    data = coloured_squares(50)
    whole = list(shuffled(data, 16, ALL, seed=3, epoch=2))
    rest = list(shuffled(data, 16, ALL, seed=3, epoch=2, first=2))
    assert len(rest) == 2
    for (images, labels, size), (others, other_labels, other_size) in zip(whole[2:], rest, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
        assert size == other_size
    assert list(shuffled(data, 16, ALL, seed=3, epoch=2, first=4)) == []


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    data = coloured_squares(6)
    draws = draw(len(data), FORMAT, generator_of("augmentation", 0))
    assert torch.equal(augment(data.images, FORMAT, NO_AUGMENT, draws), prepare(data.images, FORMAT))
    assert torch.equal(torch.cat([images for images, _ in in_order(data, 4)]), prepare(data.images, FORMAT))
