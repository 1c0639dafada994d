"""The views of a test image against torchvision's transforms."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from src.base.errors import InputError
from src.images.transforms import prepare
from src.images.views import EvaluateParams, centre, evaluation_scales, squares, whole
from tests.conftest import FORMAT, coloured_squares

IMAGES = coloured_squares(4).images
NORMALISE = v2.Normalize([255 * value for value in FORMAT.mean], [255.0] * 3)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, NORMALISE(expected).float(), rtol=0, atol=1e-6)


def test_the_central_square_is_that_of_training() -> None:
    for resize in (32, 40, 45):
        image_format = replace(FORMAT, resize=resize)
        (view,) = centre(IMAGES, image_format, resize)
        assert torch.equal(view, prepare(IMAGES, image_format))


@pytest.mark.parametrize(("scale", "side"), [(32, 32), (40, 32), (63, 32), (64, 64), (97, 96)])
def test_of_the_whole_image_only_what_the_poolings_leave_out_is_cropped(scale: int, side: int) -> None:
    """A border of equal width, so that the image stays in the centre."""
    (view,) = whole(IMAGES, FORMAT, scale)
    enlarged = vision.resize(IMAGES.double(), [scale, scale], antialias=True)
    close(view, vision.center_crop(enlarged, [side, side]))


def test_squares_are_on_a_grid_of_five_by_five() -> None:
    """48 - 32 = 16 pixels are four steps of 4."""
    enlarged = vision.resize(IMAGES.double(), [48, 48], antialias=True)
    views = list(squares(IMAGES, FORMAT, 48))
    assert len(views) == 25
    for index, view in enumerate(views):
        top, left = divmod(index, 5)
        close(view, vision.crop(enlarged, 4 * top, 4 * left, 32, 32))


@pytest.mark.parametrize(("scale", "count"), [(32, 1), (33, 4), (34, 9), (35, 16), (36, 25), (37, 25), (100, 25)])
def test_no_square_comes_twice(scale: int, count: int) -> None:
    views = list(squares(torch.arange(3072, dtype=torch.uint8).view(1, 3, 32, 32), FORMAT, scale))
    assert len(views) == len({tuple(view.flatten().tolist()) for view in views}) == count


def test_the_corners_of_the_image_are_in_the_grid() -> None:
    views = list(squares(IMAGES, FORMAT, 41))
    image = vision.resize(IMAGES.double(), [41, 41], antialias=True)
    corners = image[..., :32, :32], image[..., :32, 9:], image[..., 9:, :32], image[..., 9:, 9:]
    for view, corner in zip((views[0], views[4], views[20], views[24]), corners, strict=True):
        close(view, corner)


def params(**values: Any) -> EvaluateParams:
    return EvaluateParams.model_validate({"test": "dense", "scales": "auto", "flip": False} | values)


@pytest.mark.parametrize(
    ("resize", "scales", "expected"), [(40, "auto", [40]), ((36, 48), "auto", [42]), (40, [32], [32])]
)
def test_the_scales_are_those_of_training_or_the_given_ones(
    resize: int | tuple[int, int], scales: Any, expected: list[int]
) -> None:
    assert evaluation_scales(params(scales=scales).scales, replace(FORMAT, resize=resize)) == expected


def test_a_scale_is_not_smaller_than_the_crop() -> None:
    with pytest.raises(InputError) as error:
        evaluation_scales([96, 63], replace(FORMAT, resize=64, crop=64))
    assert str(error.value) == "params.yaml: evaluate.scales: 63: expected at least image.crop, which is 64"


@pytest.mark.parametrize("scales", [[], [31], [1025], [40.0], ["40"], 40, "some", None, [True], {40: 1}])
def test_other_scales_are_refused(scales: Any) -> None:
    with pytest.raises(ValidationError, match="expected auto or a list of whole numbers from 32 to 1024, such as"):
        params(scales=scales)
