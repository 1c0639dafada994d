"""Random scale, crop, flip and colour shift against their definitions and torchvision."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from src.base.errors import InputError
from src.compute.seeds import generator_of
from src.images.augmentation import AugmentParams, augment, colour_shift, draw, random_flip, scale_and_crop
from src.images.transforms import prepare
from src.networks.vgg import VGG
from tests.conftest import FORMAT, NO_AUGMENT, coloured_squares

ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)


def random_images(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("resize", "crop"), [(40, 32), (64, 64), (256, 224), ((32, 48), 32), ((224, 300), 224)])
def test_a_random_crop_is_a_window_of_its_own_image(resize: int | tuple[int, int], crop: int) -> None:
    images, image_format = random_images(24), replace(FORMAT, resize=resize, crop=crop)
    draws = draw(24, image_format, generator_of("augmentation", 0))
    crops = scale_and_crop(images, image_format, True, draws)
    assert crops.dtype == torch.float32
    for image, found, size, top, left in zip(images, crops, draws.size, draws.top, draws.left, strict=True):
        enlarged = F.interpolate(image[None].double(), (int(size), int(size)), mode="bilinear", align_corners=False)
        expected = enlarged[0, :, top : top + crop, left : left + crop].float()
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)


def test_without_random_crops_the_squares_of_all_sizes_are_central() -> None:
    images, image_format = random_images(30), replace(FORMAT, resize=(32, 48))
    draws = draw(30, image_format, generator_of("augmentation", 0))
    assert len(set(draws.size.tolist())) > 10
    for image, found, size in zip(images, scale_and_crop(images, image_format, False, draws), draws.size, strict=True):
        expected = v2.CenterCrop(32)(v2.Resize(int(size), antialias=True)(image.double()))
        torch.testing.assert_close(found, expected.float(), rtol=0, atol=5e-5)


def test_a_range_of_one_size_is_that_size() -> None:
    images, fixed, ranged = random_images(30), replace(FORMAT, resize=40), replace(FORMAT, resize=(40, 40))
    draws = draw(30, fixed, generator_of("augmentation", 0))
    assert all(map(torch.equal, draws, draw(30, ranged, generator_of("augmentation", 0))))
    for params in (ALL, NO_AUGMENT):
        assert torch.equal(augment(images, fixed, params, draws), augment(images, ranged, params, draws))
    assert torch.equal(prepare(images, fixed), prepare(images, replace(FORMAT, resize=(36, 44))))  # the middle


@pytest.mark.parametrize("resize", [36, (33, 45)])
def test_augmented_images_are_torchvisions(resize: int | tuple[int, int]) -> None:
    """Resize, crop and flip of torchvision; the colour shift as written in Krizhevsky et al. (2012), section 4.1."""
    images, image_format = random_images(20), replace(FORMAT, resize=resize)
    draws = draw(20, image_format, generator_of("augmentation", 0))
    found = augment(images, image_format, ALL, draws)
    values, vectors = np.linalg.eigh(np.array(FORMAT.covariance))
    for image, output, size, top, left, mirrored, alphas in zip(images, found, *draws, strict=True):
        expected = vision.resize(image.double(), [int(size)] * 2, antialias=True)
        expected = vision.crop(expected, int(top), int(left), 32, 32)
        expected = vision.horizontal_flip(expected) if mirrored else expected
        expected = expected / 255
        # "to each RGB image pixel we add [p1, p2, p3][a1 l1, a2 l2, a3 l3]^T". The sign of a component is arbitrary.
        shifts = [vectors[:, i] * float(alphas[i]) * values[i] for i in range(3)]
        shift = output.double().mean(dim=(1, 2)) + torch.tensor(FORMAT.mean) - expected.mean(dim=(1, 2))
        signs = [np.sign(np.dot(shift.numpy(), vectors[:, i]) * float(alphas[i])) for i in range(3)]
        expected += torch.from_numpy(sum(s * v for s, v in zip(signs, shifts, strict=True)))[:, None, None]
        expected = vision.normalize(expected, list(FORMAT.mean), [1.0, 1.0, 1.0])
        torch.testing.assert_close(output.double(), expected, rtol=0, atol=1e-6)


def test_draws_belong_to_their_images() -> None:
    """One row per image: PyTorch would spread a single row over all images without a word."""
    images, image_format = coloured_squares(4).images, replace(FORMAT, resize=40)
    draws = draw(4, image_format, generator_of("augmentation", 0))
    assert augment(images, image_format, ALL, draws).shape == (4, 3, 32, 32)
    assert augment(images[:0], image_format, ALL, draws.of(slice(0, 0))).shape == (0, 3, 32, 32)
    for name in ("size", "top", "left", "mirrored", "colours"):
        part = draws._replace(**{name: getattr(draws, name)[:1]})
        with pytest.raises(InputError, match=rf"^{name}: .* \[1.*, expected .* \[4"):
            augment(images, image_format, ALL, part)


def test_every_size_and_every_place_is_drawn_equally_often() -> None:
    draws = draw(60_000, replace(FORMAT, resize=(34, 37)), generator_of("augmentation", 0))
    assert not torch.equal(draws.top, draws.left)
    for size in range(34, 38):
        for places in (draws.top, draws.left):
            counts = places[draws.size == size].bincount()
            assert len(counts) == size - 32 + 1
            expected = 60_000 / 4 / len(counts)
            assert (counts - expected).abs().max() < 5 * expected**0.5


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


@pytest.mark.parametrize(("resize", "crop"), [((32, 40), 32), ((256, 512), 224)])
def test_augmentation_is_a_small_part_of_a_step(resize: tuple[int, int], crop: int) -> None:
    """Below 5 % of what VGG16 computes, in floating-point operations and in numbers that are written.

    Counted on tensors without values. The step of VGG16 counts three times its forward pass, without the optimizer.
    """

    class Written(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            self.numbers += result.numel() if isinstance(result, Tensor) else 0
            return result

    def counted(work: Callable[[], object]) -> tuple[int, int]:
        with Written() as written:
            work()
        with FlopCounterMode(display=False) as operations:
            work()
        return written.numbers, operations.get_total_flops()

    image_format = replace(FORMAT, resize=resize, crop=crop)
    draws = draw(8, image_format, generator_of("augmentation", 0))
    with torch.device("meta"):
        network = VGG("D", classes=10, image_size=crop)
        images, inputs = torch.empty(8, 3, 32, 32, dtype=torch.uint8), torch.empty(8, 3, crop, crop)
    augmented, step = counted(lambda: augment(images, image_format, ALL, draws)), counted(lambda: network(inputs))
    assert all(0 < part < 0.05 * 3 * whole for part, whole in zip(augmented, step, strict=True))
