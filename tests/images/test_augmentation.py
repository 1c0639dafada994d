"""Random crop, flip and colour shift against their definitions."""

from dataclasses import replace

import torch

from src.compute.seeds import generator_of
from src.images.augmentation import colour_shift, draw, random_crop, random_flip
from tests.conftest import FORMAT


def test_a_random_crop_is_a_window_of_its_own_image() -> None:
    images = torch.arange(64 * 3 * 40 * 44, dtype=torch.float32).view(64, 3, 40, 44)
    tops, lefts = torch.arange(64) % 9, torch.arange(64) % 13
    crops = random_crop(images, 32, tops, lefts)
    assert crops.shape == (64, 3, 32, 32)
    for image, crop, top, left in zip(images, crops, tops.tolist(), lefts.tolist(), strict=True):
        assert torch.equal(crop, image[:, top : top + 32, left : left + 32])


def test_every_place_of_a_crop_is_drawn() -> None:
    draws = draw(500, replace(FORMAT, resize=40), generator_of(0))
    assert set(draws.top.tolist()) == set(draws.left.tolist()) == set(range(9))
    assert not torch.equal(draws.top, draws.left)


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
