"""The on-device image path against torchvision's transforms, PyTorch's interpolation and float64."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from src.base.errors import InputError
from src.compute.seeds import generator_of
from src.images.augmentation import AugmentParams, augment, draw
from src.images.format import ImageParams
from src.images.transforms import central, normalise, prepare, resize_and_crop, resize_weights
from tests.conftest import FORMAT, coloured_squares

ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)

SIZES = [(32, 32), (33, 32), (36, 32), (40, 32), (67, 64), (224, 224), (256, 224), (300, 32)]


@pytest.mark.parametrize("size", [32, 33, 40, 100, 256, 1024])
def test_the_matrix_is_bilinear_enlarging(size: int) -> None:
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 255
    reference = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
    matrix = resize_weights(size, 0, size, torch.device("cpu")).T
    torch.testing.assert_close(matrix @ images @ matrix.T, reference, rtol=0, atol=1e-10)
    assert (matrix > 0).sum(dim=1).max() <= 2
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("size", "crop"), SIZES)
def test_resize_and_crop_are_torchvisions(size: int, crop: int) -> None:
    images, place = coloured_squares(4).images, central(size, crop)
    reference = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(crop)])
    cropped = resize_and_crop(images, size, crop, place, place)
    assert cropped.dtype == torch.float32
    torch.testing.assert_close(cropped, reference(images.float()), rtol=0, atol=1e-3)
    torch.testing.assert_close(
        cropped, reference(images.double()).float(), rtol=0, atol=5e-5
    )  # 3 units in the last place


def test_without_a_resize_pixels_stay_as_they_are() -> None:
    images = coloured_squares(4).images
    assert torch.equal(resize_and_crop(images, 32, 32, 0, 0), images.float())
    assert torch.equal(resize_and_crop(images, 32, 20, 3, 5), images[..., 3:23, 5:25].float())
    expected = images.float() * (1 / 255) - torch.tensor(FORMAT.mean).view(3, 1, 1)
    assert torch.equal(prepare(images, FORMAT), expected)


def test_the_crop_of_the_original_is_exact() -> None:
    """At 256 all weights are sixteenths, so float32 has every product without rounding."""
    images = coloured_squares(4).images
    exact = F.interpolate(images.double(), (256, 256), mode="bilinear")[..., 16:240, 16:240]
    assert torch.equal(resize_and_crop(images, 256, 224, 16, 16).double(), exact)


@pytest.mark.parametrize("resize", [32, 40, 256, (33, 50)])
def test_precision_does_not_depend_on_autocast(resize: int | tuple[int, int]) -> None:
    data, image_format = coloured_squares(4), replace(FORMAT, resize=resize)
    draws = draw(4, image_format, generator_of("augmentation", 0))
    plain = prepare(data.images, image_format), augment(data.images, image_format, ALL, draws)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            found = prepare(data.images, image_format), augment(data.images, image_format, ALL, draws)
        assert all(map(torch.equal, found, plain))


@pytest.mark.parametrize("resize", [40, (36, 44)])
def test_an_image_does_not_depend_on_its_batch_nor_on_threads(resize: int | tuple[int, int]) -> None:
    images, image_format = coloured_squares(50).images, replace(FORMAT, resize=resize)
    draws = draw(50, image_format, generator_of("augmentation", 0))
    whole = prepare(images, image_format), augment(images, image_format, ALL, draws)
    for threads, part in ((1, slice(0, 1)), (2, slice(3, 20)), (3, slice(17, 50))):
        torch.set_num_threads(threads)
        assert torch.equal(prepare(images[part], image_format), whole[0][part])
        assert torch.equal(augment(images[part], image_format, ALL, draws.of(part)), whole[1][part])


def test_nothing_larger_than_the_crop_is_computed() -> None:
    class Largest(TorchDispatchMode):
        values = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            assert "upsample" not in str(func)
            if isinstance(result, Tensor) and result.untyped_storage().nbytes() // 4 >= result.numel():
                self.values = max(self.values, result.numel())
            return result

    images, image_format = coloured_squares(64).images, replace(FORMAT, resize=256, crop=64)
    draws = draw(64, image_format, generator_of("augmentation", 0))
    for transform in (lambda: prepare(images, image_format), lambda: augment(images, image_format, ALL, draws)):
        with Largest() as largest:
            result = transform()
        assert largest.values == result.numel()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"resize": 16, "crop": 16},
            "image format: resize: 16, expected a whole number from 32 to 1024, or a range of them",
        ),
        ({"resize": 40.5}, "image format: resize: 40.5, expected a whole number from 32 to 1024, or a range of them"),
        (
            {"resize": (48, 40)},
            r"image format: resize: \(48, 40\), expected a whole number from 32 to 1024, or a range of them",
        ),
        (
            {"resize": (40,)},
            r"image format: resize: \(40,\), expected a whole number from 32 to 1024, or a range of them",
        ),
        ({"resize": (40, 48), "crop": 48}, r"image format: crop: 48, expected a whole number from 1 to resize .*"),
        ({"resize": 64, "crop": 96}, r"image format: crop: 96, expected a whole number from 1 to resize \(64\)"),
        ({"crop": 0}, r"image format: crop: 0, expected a whole number from 1 to resize \(32\)"),
        ({"pixel_scale": 2}, "image format: pixel_scale: 2, expected 1 or 255"),
        ({"mean": (0.5, 0.5)}, "image format: mean: .*, expected three numbers in 0..1"),
        ({"mean": (120.0, 110.0, 100.0)}, "image format: mean: .*, expected three numbers in 0..1"),
        (
            {"covariance": ((1.0,) * 3, (math.nan,) * 3, (1.0,) * 3)},
            "image format: covariance: .*, expected 3 x 3 finite numbers",
        ),
        ({"classes": ("cat", "cat")}, "image format: classes: .*, expected one name or more, all different"),
    ],
)
def test_a_format_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    data, image_format = coloured_squares(2), replace(FORMAT, **values)
    draws = draw(2, FORMAT, generator_of("augmentation", 0))
    for use in (
        lambda: prepare(data.images, image_format),
        lambda: augment(data.images, image_format, ALL, draws),
        lambda: replace(data, format=image_format),
    ):
        with pytest.raises(InputError, match=f"^{message}$"):
            use()


@pytest.mark.parametrize("crop", [-1, 0, 41])
def test_a_crop_is_not_larger_than_the_image(crop: int) -> None:
    with pytest.raises(InputError, match=rf"^crop: {crop}, expected 1..40, the size of the resized image$"):
        resize_and_crop(coloured_squares(1).images, 40, crop, 0, 0)


@pytest.mark.parametrize(("top", "left"), [(-1, 0), (9, 0), (0, -1), (0, 9)])
def test_a_crop_lies_in_the_image(top: int, left: int) -> None:
    with pytest.raises(InputError, match=r"^crop at (-1|9), expected 0..8$"):
        resize_and_crop(coloured_squares(1).images, 40, 32, top, left)


def test_images_are_not_made_smaller() -> None:
    with pytest.raises(InputError, match=r"^resize: 31, expected at least 32"):
        resize_and_crop(coloured_squares(1).images, 31, 16, 0, 0)


@pytest.mark.parametrize("scale", [1, 255])
def test_prepare_is_the_usual_way(scale: int) -> None:
    image_format = replace(FORMAT, resize=64, pixel_scale=scale)
    images = coloured_squares(4).images
    usual = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Resize(64), v2.CenterCrop(32), v2.Normalize(FORMAT.mean, (1, 1, 1))]
    )
    torch.testing.assert_close(prepare(images, image_format) / scale, usual(images), rtol=0, atol=1e-5)


def test_normalise_subtracts_the_mean_of_each_channel() -> None:
    white = torch.full((1, 3, 2, 2), 255.0)
    torch.testing.assert_close(normalise(white, FORMAT)[0, :, 0, 0], torch.tensor([0.5, 0.6, 0.7]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": 48}, "multiple of 32"),
        ({"crop": 288}, "at most resize"),
        ({"crop": 0}, "greater than or equal to 32"),
        ({"pixel_scale": 2}, "1 or 255"),
        ({"resize": "256"}, "expected a whole number from 32 to 1024, or a range of them"),
        ({"resize": [288, 256]}, "expected a whole number from 32 to 1024, or a range of them"),
        ({"resize": [256, 1025]}, "expected a whole number from 32 to 1024, or a range of them"),
        ({"resize": [128, 256]}, "at most resize, which is 128 or more"),
    ],
)
def test_impossible_sizes_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageParams.model_validate({"resize": 256, "crop": 224, "pixel_scale": 1} | values)
