"""Whether a network will learn, said from its layers before the first step of training, and whether it did."""

import math
from collections.abc import Sequence
from typing import Literal

from src.inspection import LayerSignal
from src.optimization import OptimizerParams

Verdict = Literal["yes", "no", "seed"]


def learns(rows: Sequence[LayerSignal], optimizer: OptimizerParams, steps: int) -> Verdict:
    """Whether a network begins to learn within a number of steps: "yes", "no", or "seed" where the seed decides.

    It cannot if its steps, as large as the first one, do not move its layers by their own size in all, or if its
    outputs are not finite. A step only counts as far as a layer's inputs differ between images: a layer that gets the
    same for every image can move as it likes and tell none of them apart.

    Where it can, Adam's first steps move the biases by the learning rate, however small their gradients (as long as
    they are above eps). If that is more than what differs between images in some layer, it depends on the order of
    the images, and so on the seed, whether the steps agree on a direction or drown the signal. SGD's steps shrink
    with the gradients and drown nothing.

    Args:
        rows: of all layers, from the first to the last, as training finds them (after a transfer).
    """
    if not (math.isfinite(rows[-1].activation_std) and steps * movement(rows, optimizer) >= 1):
        return "no"
    if optimizer.name == "adam" and weakest_signal(rows) < optimizer.lr:
        return "seed"
    return "yes"


def weakest_signal(rows: Sequence[LayerSignal]) -> float:
    """The smallest standard deviation over images that the outputs of a layer have, before the ReLU."""
    return min(row.activation_std * row.image_share for row in rows)


def movement(rows: Sequence[LayerSignal], optimizer: OptimizerParams) -> float:
    """How far the first step moves a network: the sum over its layers of step / weights x share of its inputs.

    Step and weights as RMS; the share is that of the layer before (`LayerSignal.image_share`), 1 for the images
    themselves.
    """
    shares = [1.0, *(row.image_share for row in rows)]
    return sum(
        step(row.gradient_rms, optimizer) / row.weight_rms * share for row, share in zip(rows, shares, strict=False)
    )


def step(gradient_rms: float, optimizer: OptimizerParams) -> float:
    """The RMS of the change of a layer's weights in one step, if the gradient stays as it is.

    Adam divides the gradient by its RMS plus eps (Kingma & Ba, 2015). SGD with momentum m adds up to 1 / (1 - m)
    times the gradient.
    """
    if optimizer.name == "adam":
        return optimizer.lr * gradient_rms / (gradient_rms + optimizer.eps)
    return optimizer.lr * gradient_rms / (1 - optimizer.momentum)


def learned(best_accuracy: float, classes: int) -> bool:
    """Whether a network began to learn: after its best epoch it was right at least 1.5 times as often as guessing.

    Of 2,000 images of ten classes that is seven standard errors away from guessing.
    """
    return best_accuracy >= 1.5 / classes
