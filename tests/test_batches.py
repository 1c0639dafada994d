"""Order and augmentation of the training images."""

from dataclasses import replace

import pytest
import torch

from src.batches import AugmentParams, augmented, colour_shift, draw, in_order, random_crop, random_flip, shuffled
from src.dataset import Dataset
from src.images import prepare
from src.seeding import generator_of, seed_of
from tests.conftest import FORMAT, NO_AUGMENT, coloured_squares

ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)


def numbered(count: int) -> Dataset:
    """Images that can be told apart by their first pixel, with labels that go with them."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count, dtype=torch.uint8)
    return Dataset(images, torch.arange(count), FORMAT)


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
    chances = draw(len(data), FORMAT, generator_of(0))
    assert torch.equal(augmented(data.images, FORMAT, NO_AUGMENT, chances), prepare(data.images, FORMAT))
    assert torch.equal(torch.cat([images for images, _ in in_order(data, 4)]), prepare(data.images, FORMAT))


def test_a_random_crop_is_a_window_of_its_own_image() -> None:
    images = torch.arange(64 * 3 * 40 * 44, dtype=torch.float32).view(64, 3, 40, 44)
    tops, lefts = torch.arange(64) % 9, torch.arange(64) % 13
    crops = random_crop(images, 32, tops, lefts)
    assert crops.shape == (64, 3, 32, 32)
    for image, crop, top, left in zip(images, crops, tops.tolist(), lefts.tolist(), strict=True):
        assert torch.equal(crop, image[:, top : top + 32, left : left + 32])


def test_every_place_of_a_crop_is_drawn() -> None:
    chances = draw(500, replace(FORMAT, resize=40), generator_of(0))
    assert set(chances.top.tolist()) == set(chances.left.tolist()) == set(range(9))
    assert not torch.equal(chances.top, chances.left)


def test_about_half_of_the_images_are_mirrored() -> None:
    images = torch.rand(400, 3, 4, 4)
    chosen = draw(400, FORMAT, generator_of(0)).mirrored
    flipped = random_flip(images, chosen)
    assert [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, images, strict=True)] == chosen.tolist()
    assert [torch.equal(a, b) for a, b in zip(flipped, images, strict=True)] == (~chosen).tolist()
    assert 160 < chosen.sum() < 240


def test_the_colour_shift_has_the_papers_distribution() -> None:
    """Krizhevsky et al. (2012), 4.1: covariance of the shift = sum of (0.1 * eigenvalue)^2 * component x component."""
    colours = draw(20_000, FORMAT, generator_of(0)).colours
    shifts = colour_shift(torch.zeros(20_000, 3, 2, 2), FORMAT, colours) / 255
    assert torch.equal(shifts[:, :, :1, :1].expand_as(shifts), shifts)  # one shift for the whole image
    c = torch.tensor(FORMAT.covariance)
    expected = 0.01 * c @ c  # V diag(l^2) V' = C C
    torch.testing.assert_close(shifts[:, :, 0, 0].T.cov(), expected, rtol=0.05, atol=1e-7)


@pytest.mark.parametrize("key", [(0,), (0, 1), (1, 0), (0, 0, 1), (2**32 - 1, 5)])
def test_seeds_differ_and_fit(key: tuple[int, ...]) -> None:
    assert 0 <= seed_of(*key) < 2**63
    assert seed_of(*key) == seed_of(*key)
    assert seed_of(*key) != seed_of(*key, 1)
