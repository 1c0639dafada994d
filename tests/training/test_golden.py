"""The first ten training losses of both networks, against recorded values.

A change that shifts training fails here. The learning rates are so small that rounding does not grow: between AVX-512,
AVX2 and SSE kernels, and between one thread and two, the losses differ by at most 1.7e-6 of their value. Record new
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
        *(
            2.4882309,
            2.7066240,
            2.7598290,
            2.6800842,
            2.2557831,
            2.7667742,
            2.7674453,
            2.5989304,
            2.1602185,
            2.7362266,
        ),
        *(),
    ],
    ("D", "adam"): [
        *(
            2.5102839,
            2.5792592,
            2.4194939,
            2.2178810,
            2.2351933,
            2.3292632,
            2.3109381,
            2.4504759,
            2.1819439,
            2.3789737,
        ),
        *(),
    ],
    ("D", "sgd"): [
        *(
            2.5102839,
            2.5801160,
            2.4201732,
            2.2188520,
            2.2346458,
            2.3298178,
            2.3102074,
            2.4521105,
            2.1817527,
            2.3807561,
        ),
        *(),
    ],
}


def losses(letter: Letter, optimizer: OptimizerParams) -> list[float]:
    """Of ten batches of 16: kaiming, dropout and all augmentations, fp32."""
    runtime = start_runtime(REFERENCE)
    params = PARAMS.model_copy(update={"optimizer": optimizer, "augment": ALL})
    data = coloured_squares(160)
    data = replace(data, format=replace(FORMAT, resize=40))
    run = Run(runtime.place(params.build(letter, data.format)), params, runtime)
    progress = Progress("golden", epochs=1, images=len(data), done=0)
    train_epoch(run, data, epoch=1, progress=progress, save=lambda: None)
    return [float(loss) for loss in run.meter.losses]


@pytest.mark.parametrize(("letter", "name"), LOSSES)
def test_the_first_ten_losses(letter: Letter, name: str) -> None:
    optimizer = ADAM if name == "adam" else SGD
    assert losses(letter, optimizer) == pytest.approx(LOSSES[letter, name], rel=1e-5)


def test_a_small_shift_of_training_is_seen() -> None:
    """The tolerance is small enough: a learning rate that is 1 % too high fails."""
    shifted = losses("D", SGD.model_copy(update={"lr": SGD.lr * 1.01}))
    assert shifted != pytest.approx(LOSSES["D", "sgd"], rel=1e-5)
