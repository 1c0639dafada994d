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
        *(2.9848728, 2.4455466, 2.7697496, 2.2830093, 2.2789264),
        *(2.6577761, 2.8209331, 2.6106560, 2.2665532, 2.5259032),
    ],
    ("D", "adam"): [
        *(2.5125740, 2.4016752, 2.4321206, 2.4186113, 2.2898388),
        *(2.4178841, 2.3775673, 2.3964026, 2.5735424, 2.2002156),
    ],
    ("D", "sgd"): [
        *(2.5125740, 2.4019754, 2.4313715, 2.4192445, 2.2896569),
        *(2.4193764, 2.3779082, 2.3968925, 2.5743098, 2.2003863),
    ],
}


def losses(letter: Letter, optimizer: OptimizerParams, convolution: str = "library") -> list[float]:
    """Of ten batches of 16: kaiming, dropout and all augmentations, fp32."""
    runtime = start_runtime(REFERENCE.model_copy(update={"convolution": convolution}))
    params = PARAMS.model_copy(update={"optimizer": optimizer, "augment": ALL})
    data = coloured_squares(160)
    data = replace(data, format=replace(FORMAT, resize=40))
    run = Run(runtime.place(params.build(letter, data.format)), params, runtime)
    progress = Progress("golden", epochs=1, images=len(data), done=0)
    train_epoch(run, data, progress, between_steps=lambda: None)
    return [float(loss) for loss in run.meter.losses]


@pytest.mark.parametrize("convolution", ["library", "winograd"])
@pytest.mark.parametrize(("letter", "name"), LOSSES)
def test_the_first_ten_losses(letter: Letter, name: str, convolution: str) -> None:
    optimizer = ADAM if name == "adam" else SGD
    assert losses(letter, optimizer, convolution) == pytest.approx(LOSSES[letter, name], rel=1e-5)


def test_a_small_shift_of_training_is_seen() -> None:
    """The tolerance is small enough: a learning rate that is 5 % too high fails."""
    shifted = losses("D", SGD.model_copy(update={"lr": SGD.lr * 1.05}))
    assert shifted != pytest.approx(LOSSES["D", "sgd"], rel=1e-5)
