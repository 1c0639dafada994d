"""Memory of validation and evaluation is bounded, whatever the size of the images."""

import pytest
import torch
from torch import nn

from src.networks.memory import ACTIVATIONS, inference_batch
from src.networks.vgg import VGG


@pytest.mark.parametrize("crop", [32, 64, 96, 224, 512, 1024])
def test_the_two_largest_layers_fit(crop: int) -> None:
    """Sizes of the activations as PyTorch has them, on the meta device."""
    with torch.device("meta"):
        network, images = VGG("D", classes=10, image_size=crop), torch.empty(1, 3, crop, crop)
    sizes = []
    for layer in network:
        images = layer(images)
        if isinstance(layer, nn.Conv2d):
            sizes.append(images.nbytes)
    assert 2 * max(sizes) * inference_batch(crop) <= ACTIVATIONS
    assert 1 <= inference_batch(crop) <= 500


def test_known_batches() -> None:
    assert [inference_batch(crop) for crop in (32, 224)] == [500, 41]
