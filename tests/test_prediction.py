"""The rule that says from the layers alone whether a network will learn, on hand-made layers."""

import math

import pytest

from src.inspection import LayerSignal
from src.optimization import OptimizerParams
from src.prediction import learned, learns, step, still

ADAM = OptimizerParams(name="adam", lr=1e-4, momentum=0.0, weight_decay=0.0, eps=1e-8)
SGD = OptimizerParams(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4, eps=1e-8)


def layers(*gradients: float, weights: float = 0.01, logits: float = 1e-3) -> list[LayerSignal]:
    return [LayerSignal(f"conv{i}", logits, gradient, weights) for i, gradient in enumerate(gradients, start=1)]


def test_steps_of_adam_and_sgd() -> None:
    assert step(1e-3, ADAM) == pytest.approx(1e-4, rel=1e-4)
    assert step(1e-8, ADAM) == pytest.approx(0.5e-4)
    assert step(1e-12, ADAM) == pytest.approx(1e-8, rel=1e-3)
    assert step(1e-12, ADAM.model_copy(update={"eps": 1e-16})) == pytest.approx(1e-4, rel=1e-3)
    assert step(1e-3, SGD) == pytest.approx(1e-4)
    assert step(0.0, ADAM) == step(0.0, SGD) == 0


@pytest.mark.parametrize(
    ("gradients", "count"), [((1e-6, 1e-9), 0), ((1e-6, 1e-11), 1), ((0.0, 0.0), 2), ((math.inf, math.nan), 2)]
)
def test_layers_that_stand_still(gradients: tuple[float, ...], count: int) -> None:
    assert still(layers(*gradients), ADAM) == count


def test_the_size_of_the_weights_counts() -> None:
    assert still(layers(2e-10), ADAM) == 0
    assert still(layers(2e-10, weights=0.1), ADAM) == 1


def test_half_of_the_layers_must_move() -> None:
    assert learns(layers(1e-6, 1e-6, 1e-12), ADAM)
    assert not learns(layers(1e-6, 1e-6, 1e-12, 1e-12), ADAM)
    assert learns(layers(1e-6, 1e-6, 1e-12, 1e-12), ADAM.model_copy(update={"eps": 1e-16}))
    assert not learns(layers(1e-6, 1e-6, 1e-6), SGD)


@pytest.mark.parametrize("logits", [1e4, math.inf, math.nan])
def test_exploded_outputs_do_not_learn(logits: float) -> None:
    assert not learns(layers(1.0, 1.0, logits=logits), ADAM)


def test_learned_is_half_as_good_again_as_guessing() -> None:
    assert learned(0.15, 10)
    assert not learned(0.149, 10)
    assert not learned(0.15, 5)
