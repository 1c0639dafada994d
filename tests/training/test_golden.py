"""The first ten training losses of both networks, against recorded values.

A change that shifts training fails here. The learning rates are so small that rounding does not grow: between AVX-512,
AVX2 and SSE kernels, and between one thread and two, the losses differ by at most 2.1e-6 of their value. Record new
values only when a change of training is intended.
"""

from dataclasses import replace

import pytest

from src.compute.runtime import REFERENCE, start_runtime
from src.images.augmentation import AugmentParams
from src.networks.vgg import Letter
from src.training.loop import train_epoch
from src.training.optimizer import OptimizerParams
from src.training.progress import Progress
from src.training.run import Run
from tests.conftest import FORMAT, PARAMS, coloured_squares

ADAM = OptimizerParams(name="adam", lr=3e-7, momentum=0.0, weight_decay=5e-4, eps=1e-8)
SGD = OptimizerParams(name="sgd", lr=1e-5, momentum=0.9, weight_decay=5e-4, eps=1e-8)
ALL = AugmentParams(random_crop=True, flip=True, colour_shift=True)

LOSSES: dict[tuple[Letter, str], list[float]] = {
    ("A", "adam"): [
        *(2.9938953, 2.4512200, 2.7461154, 2.3179948, 2.3351617),
        *(2.6510947, 2.8115020, 2.4981697, 2.2679219, 2.6024113),
    ],
    ("D", "adam"): [
        *(2.4715784, 2.3833363, 2.4048951, 2.4167974, 2.3121798),
        *(2.4280283, 2.3518496, 2.4117095, 2.5495396, 2.2108412),
    ],
    ("D", "sgd"): [
        *(2.4715784, 2.3837729, 2.4044948, 2.4176404, 2.3123622),
        *(2.4294612, 2.3529065, 2.4126863, 2.5503688, 2.2110088),
    ],
}


def losses(letter: Letter, optimizer: OptimizerParams, convolution: str = "library") -> list[float]:
    """Of ten batches of 16: kaiming, dropout and all augmentations, scale jittering included, fp32."""
    runtime = start_runtime(REFERENCE.model_copy(update={"convolution": convolution}))
    params = PARAMS.model_copy(update={"optimizer": optimizer, "augment": ALL})
    data = coloured_squares(160)
    data = replace(data, format=replace(FORMAT, resize=(36, 44)))
    run = Run(runtime.place(params.build(letter, data.format)), params, runtime)
    progress = Progress("golden", epochs=1, images=len(data), done=0)
    train_epoch(run, data, progress, between_steps=lambda: None)
    return [float(loss) for loss in run.meter.losses]


@pytest.mark.parametrize(
    ("letter", "name", "convolution"),
    [
        ("A", "adam", "library"),
        ("D", "adam", "library"),
        ("D", "adam", "winograd"),
        pytest.param("D", "sgd", "library", marks=pytest.mark.slow),
    ],
)
def test_the_first_ten_losses(letter: Letter, name: str, convolution: str) -> None:
    optimizer = ADAM if name == "adam" else SGD
    assert losses(letter, optimizer, convolution) == pytest.approx(LOSSES[letter, name], rel=1e-5)


def test_a_small_shift_of_training_is_seen() -> None:
    """The tolerance is small enough: a learning rate that is 5 % too high fails."""
    shifted = losses("D", SGD.model_copy(update={"lr": SGD.lr * 1.05}))
    assert shifted != pytest.approx(LOSSES["D", "sgd"], rel=1e-5)
