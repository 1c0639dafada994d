"""Random crop, flip and colour shift against their definitions."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from src.base.errors import InputError
from src.compute.seeds import generator_of
from src.images.augmentation import AugmentParams, augment, colour_shift, draw, random_crop, random_flip
from tests.conftest import FORMAT, coloured_squares

ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)


@pytest.mark.parametrize(("resize", "crop"), [(40, 32), (64, 64), (256, 224)])
def test_a_random_crop_is_a_window_of_its_own_image(resize: int, crop: int) -> None:
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    places = resize - crop + 1
    tops, lefts = torch.arange(24) % places, torch.arange(24) * 5 % places
    crops = random_crop(images, replace(FORMAT, resize=resize, crop=crop), tops, lefts)
    enlarged = F.interpolate(images.double(), (resize, resize), mode="bilinear", align_corners=False)
    assert crops.dtype == torch.float32
    for image, found, top, left in zip(enlarged, crops, tops.tolist(), lefts.tolist(), strict=True):
        expected = image[:, top : top + crop, left : left + crop].float()
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)


def test_draws_belong_to_their_images() -> None:
    """One row per image: PyTorch would spread a single row over all images without a word."""
    images, image_format = coloured_squares(4).images, replace(FORMAT, resize=40)
    draws = draw(4, image_format, generator_of("augmentation", 0))
    assert augment(images, image_format, ALL, draws).shape == (4, 3, 32, 32)
    assert augment(images[:0], image_format, ALL, draws.of(slice(0, 0))).shape == (0, 3, 32, 32)
    for name in ("top", "left", "mirrored", "colours"):
        part = draws._replace(**{name: getattr(draws, name)[:1]})
        with pytest.raises(InputError, match=rf"^{name}: .* \[1.*, expected .* \[4"):
            augment(images, image_format, ALL, part)


def test_every_place_of_a_crop_is_drawn() -> None:
    draws = draw(500, replace(FORMAT, resize=40), generator_of("augmentation", 0))
    assert set(draws.top.tolist()) == set(draws.left.tolist()) == set(range(9))
    assert not torch.equal(draws.top, draws.left)


def test_about_half_of_the_images_are_mirrored() -> None:
    images = torch.rand(400, 3, 4, 4)
    chosen = draw(400, FORMAT, generator_of("augmentation", 0)).mirrored
    flipped = random_flip(images, chosen)
    assert [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, images, strict=True)] == chosen.tolist()
    assert [torch.equal(a, b) for a, b in zip(flipped, images, strict=True)] == (~chosen).tolist()
    assert 160 < chosen.sum() < 240


def test_the_colour_shift_has_the_papers_distribution() -> None:
    """Krizhevsky et al. (2012), 4.1: covariance of the shift = sum of (0.1 * eigenvalue)^2 * component x component."""
    colours = draw(20_000, FORMAT, generator_of("augmentation", 0)).colours
    shifts = colour_shift(torch.zeros(20_000, 3, 2, 2), FORMAT, colours) / 255
    assert torch.equal(shifts[:, :, :1, :1].expand_as(shifts), shifts)  # one shift for the whole image
    c = torch.tensor(FORMAT.covariance)
    expected = 0.01 * c @ c  # V diag(l^2) V' = C C
    torch.testing.assert_close(shifts[:, :, 0, 0].T.cov(), expected, rtol=0.05, atol=1e-7)
