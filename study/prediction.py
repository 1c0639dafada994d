"""A rule that predicts from the layers, before the first step of training, whether a network will learn."""

import math
from collections.abc import Sequence
from typing import Literal

from src.inspection.signals import LayerSignal
from src.training.optimizer import OptimizerParams


def learns(rows: Sequence[LayerSignal], optimizer: OptimizerParams, steps: int) -> Literal["yes", "no", "seed"]:
    """Whether a network begins to learn within a number of steps. "seed": it depends on the seed.

    `rows` are its layers, from first to last, as training finds them (after a transfer). The network cannot learn if
    its outputs or gradients are not finite, or if all its steps, each as large as the first one, do not move its layers
    by their own size. A step only counts as far as the inputs of the layer differ between images.

    Adam's first steps move biases by the learning rate, however small their gradients are (above eps). Where this is
    more than what differs between images in some layer, the biases can drown the signal. Whether they do depends on the
    order of the images, and so on the seed. SGD's steps shrink with the gradients and drown nothing.
    """
    moved = steps * movement(rows, optimizer)
    if not (math.isfinite(rows[-1].activation_std) and 1 <= moved < math.inf):
        return "no"
    return "seed" if optimizer.name == "adam" and weakest_signal(rows) < optimizer.lr else "yes"


def weakest_signal(rows: Sequence[LayerSignal]) -> float:
    """The smallest standard deviation over images that the outputs of a layer have, before the ReLU."""
    return min(row.activation_std * row.image_share for row in rows)


def movement(rows: Sequence[LayerSignal], optimizer: OptimizerParams) -> float:
    """How far the first step moves a network: the sum over its layers of step / weights x share of the inputs.

    Step and weights are RMS, the share is the `image_share` of the layer before, 1 for the images. Adam divides a
    gradient by its RMS plus eps (Kingma & Ba, 2015). SGD with momentum m adds up to 1 / (1 - m) times the gradient.
    """
    total, share = 0.0, 1.0
    for row in rows:
        divisor = row.gradient_rms + optimizer.eps if optimizer.name == "adam" else 1 - optimizer.momentum
        total += optimizer.lr * row.gradient_rms / divisor / row.weight_rms * share
        share = row.image_share
    return total


def learned(best_accuracy: float, classes: int) -> bool:
    """Whether a network is right at least 1.5 times as often as guessing: by 7 standard errors on 2,000 images."""
    return best_accuracy >= 1.5 / classes
