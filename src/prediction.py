"""Whether a network will learn, said from its layers before the first step of training, and whether it did."""

import math
from collections.abc import Sequence

from src.inspection import LayerSignal
from src.optimization import OptimizerParams

STILL = 1e-4
"""A step as a share of a layer's weights: below it, a layer needs more than 10,000 equal steps to move by its size."""
EXPLODED = 1e3
"""Standard deviation of the logits from which the first steps serve only to make them smaller."""


def learns(rows: Sequence[LayerSignal], optimizer: OptimizerParams) -> bool:
    """Whether a network will learn: fewer than half of its layers stand still, and its outputs have not exploded.

    A gradient is small or large only in relation to what the optimizer makes of it: a gradient RMS of a fifth of
    eps still moves N(0, 0.01^2) weights by a 600th of their size in each of Adam's steps. One below eps / 100 does not.

    Args:
        rows: of all layers, from the first to the last, as training finds them (after a transfer).
    """
    logits = rows[-1].activation_std
    return logits < EXPLODED and still(rows, optimizer) < len(rows) / 2


def still(rows: Sequence[LayerSignal], optimizer: OptimizerParams) -> int:
    """How many layers' weights the first steps would move by less than `STILL` of their size.

    A gradient that is not finite moves no weight to a useful place.
    """
    return sum(not STILL <= share < math.inf for share in relative_steps(rows, optimizer))


def relative_steps(rows: Sequence[LayerSignal], optimizer: OptimizerParams) -> list[float]:
    """The first step of each layer as a share of its weights, both as RMS."""
    return [step(row.gradient_rms, optimizer) / row.weight_rms for row in rows]


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
