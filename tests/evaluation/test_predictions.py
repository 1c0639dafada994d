"""The ways of testing of section 3.2: each against the network on single squares, or against convolutions."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from src.compute.runtime import Runtime
from src.evaluation.predictions import class_map, predict
from src.images.dataset import Dataset
from src.images.transforms import prepare
from src.images.views import EvaluateParams, whole
from src.networks.initialization import build
from src.networks.vgg import VGG
from tests.conftest import CENTRE, FORMAT, coloured_squares

CPU = Runtime(torch.device("cpu"), torch.float32, compile=False)
DATA = coloured_squares(3)


@pytest.fixture(scope="module")
def network() -> VGG:
    return build("A", FORMAT, seed=0, init="kaiming", init_std=0.01, dropout=0.5).eval()


def evaluated(network: VGG, *, resize: int = 32, **values: Any) -> Tensor:
    image_format = replace(FORMAT, resize=resize)
    params = EvaluateParams.model_validate(CENTRE.model_dump() | values)
    return predict(network, replace(DATA, format=image_format), CPU, params)


def on_square(network: VGG, scale: int, top: int, left: int, mirrored: bool = False) -> Tensor:
    """Class probabilities for one square of the enlarged images, float64, from torchvision's transforms."""
    square = vision.crop(vision.resize(DATA.images.double(), [scale, scale], antialias=True), top, left, 32, 32)
    square = vision.horizontal_flip(square) if mirrored else square
    image = vision.normalize(square / 255, list(FORMAT.mean), [1.0, 1.0, 1.0])
    with torch.no_grad():
        outputs: Tensor = network(image.float())
    return outputs.double().softmax(dim=1)


def mean(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).mean(dim=0)


def close(logits: Tensor, probabilities: Tensor) -> None:
    torch.testing.assert_close(logits.double().softmax(dim=1), probabilities, rtol=0, atol=1e-6)


def test_the_networks_answers_differ(network: VGG) -> None:
    """The comparisons of this file can fail."""
    answers = [on_square(network, 48, 8, 8), on_square(network, 48, 4, 8), on_square(network, 48, 8, 8, mirrored=True)]
    assert all(not torch.allclose(answers[0], other, atol=1e-3) for other in answers[1:])


@pytest.mark.parametrize("test", ["dense", "crops", "dense_and_crops"])
def test_at_the_size_of_the_crop_all_ways_are_one(test: str, network: VGG) -> None:
    centre = evaluated(network, resize=40, scales=[32])
    close(evaluated(network, resize=40, scales=[32], test=test), centre.double().softmax(dim=1))
    assert torch.equal(evaluated(network), evaluated(network, scales=[32]))
    assert not torch.allclose(centre, evaluated(network, resize=40))


def test_flip_averages_class_probabilities(network: VGG) -> None:
    expected = mean([on_square(network, 40, 4, 4), on_square(network, 40, 4, 4, mirrored=True)])
    close(evaluated(network, scales=[40], flip=True), expected)


def test_scales_are_averaged(network: VGG) -> None:
    expected = mean([on_square(network, scale, (scale - 32) // 2, (scale - 32) // 2) for scale in (32, 40, 48)])
    close(evaluated(network, scales=[32, 40, 48]), expected)


def test_crops_are_the_mean_of_all_squares(network: VGG) -> None:
    """The brute-force average over 5 x 5 places, two scales and mirrored images."""
    squares = [
        on_square(network, scale, step * top, step * left, mirrored)
        for scale, step in ((36, 1), (48, 4))
        for top in range(5)
        for left in range(5)
        for mirrored in (False, True)
    ]
    close(evaluated(network, test="crops", scales=[36, 48], flip=True), mean(squares))


def convolutional(network: VGG, images: Tensor) -> Tensor:
    """The class map as the paper has it: fc6, fc7 and fc8 as convolutions."""
    outputs = images
    for name, layer in network.named_children():
        if isinstance(layer, torch.nn.Linear):
            side = network.image_size // 32 if name == "fc6" else 1
            kernel = layer.weight.view(layer.out_features, -1, side, side)
            outputs = F.conv2d(outputs, kernel, layer.bias)
        elif name != "flatten":
            outputs = layer(outputs)
    return outputs


@pytest.mark.parametrize(
    ("size", "scale", "shape"), [(32, 32, 1), (32, 63, 1), (32, 64, 2), (64, 100, 2), (64, 130, 3)]
)
@torch.no_grad()
def test_the_class_map_is_that_of_convolutions(size: int, scale: int, shape: int) -> None:
    image_format = replace(FORMAT, resize=size, crop=size)
    network = build("B", image_format, seed=0, init="kaiming", init_std=0.01, dropout=0.5).eval()
    (images,) = whole(DATA.images[:2], image_format, scale)
    found = class_map(network, images)
    assert found.shape == (2, 10, shape, shape)
    torch.testing.assert_close(found, convolutional(network, images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [36, 40, 63])
def test_dense_with_a_single_position_is_the_centre(scale: int, network: VGG) -> None:
    expected = evaluated(network, resize=scale).double().softmax(dim=1)
    close(evaluated(network, resize=scale, test="dense"), expected)


@pytest.mark.parametrize("test", ["dense", pytest.param("dense_and_crops", marks=pytest.mark.slow)])
def test_dense_averages_scores_over_positions_and_probabilities_over_the_rest(
    test: Literal["dense", "dense_and_crops"], network: VGG
) -> None:
    parts = []
    for scale in (64, 96):
        (image,) = whole(DATA.images, FORMAT, scale)
        for seen in (image, image.flip(-1)):
            with torch.no_grad():
                scores = convolutional(network, seen).flatten(2).mean(dim=2)
            parts.append(scores.double().softmax(dim=1))
    expected = mean(parts)
    if test == "dense_and_crops":
        crops = evaluated(network, test="crops", scales=[64, 96], flip=True)
        expected = mean([expected, crops.double().softmax(dim=1)])
    close(evaluated(network, test=test, scales=[64, 96], flip=True), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_averages_are_computed_in_float32(dtype: torch.dtype, network: VGG) -> None:
    params = EvaluateParams(test="dense_and_crops", scales=[64], flip=True)
    logits = predict(network, DATA, replace(CPU, dtype=dtype), params)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(3), rtol=0, atol=1e-5)


def test_batches_do_not_matter(network: VGG) -> None:
    params = EvaluateParams(test="dense", scales=[40, 64], flip=True)
    data = Dataset(DATA.images, DATA.labels, FORMAT)
    once = predict(network, data, CPU, params, batch=3)
    torch.testing.assert_close(predict(network, data, CPU, params, batch=2), once, rtol=1e-5, atol=1e-5)
    assert torch.equal(once.argmax(dim=1), evaluated(network, test="dense", scales=[40, 64], flip=True).argmax(dim=1))
    assert torch.equal(evaluated(network), predict(network, data, CPU, CENTRE))
    with torch.no_grad():
        torch.testing.assert_close(evaluated(network), network(prepare(DATA.images, FORMAT)), rtol=1e-5, atol=1e-5)
