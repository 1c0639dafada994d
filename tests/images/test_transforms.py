"""The on-device image path against torchvision's transforms."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms import v2

from src.images.format import ImageParams
from src.images.transforms import centre_crop, normalise, prepare, resize
from tests.conftest import FORMAT, coloured_squares


@pytest.mark.parametrize(("size", "crop"), [(32, 32), (36, 32), (33, 32), (256, 224), (67, 64)])
def test_resize_and_crop_are_torchvisions(size: int, crop: int) -> None:
    images = coloured_squares(4).images.float()
    reference = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(crop)])(images)
    torch.testing.assert_close(centre_crop(resize(images, size), crop), reference, rtol=0, atol=1e-3)


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
        ({"resize": "256"}, "integer"),
    ],
)
def test_impossible_sizes_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageParams.model_validate({"resize": 256, "crop": 224, "pixel_scale": 1} | values)
