"""The rule that says from the layers alone whether a network will learn, on hand-made layers."""

import math

import pytest

from src.inspection.signals import LayerSignal
from src.training.optimizer import OptimizerParams
from study.prediction import learned, learns, movement, weakest_signal

ADAM = OptimizerParams(name="adam", lr=1e-4, momentum=0.0, weight_decay=0.0, eps=1e-8)
SGD = OptimizerParams(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4, eps=1e-8)


def layers(*gradients: float, weights: float = 0.01, logits: float = 1e-3, share: float = 1.0) -> list[LayerSignal]:
    return [LayerSignal(f"conv{i}", logits, gradient, weights, share) for i, gradient in enumerate(gradients, start=1)]


def test_steps_of_adam_and_sgd() -> None:
    def step(gradient: float, optimizer: OptimizerParams) -> float:
        return movement(layers(gradient, weights=1.0), optimizer)

    assert step(1e-3, ADAM) == pytest.approx(1e-4, rel=1e-4)
    assert step(1e-8, ADAM) == pytest.approx(0.5e-4)
    assert step(1e-12, ADAM) == pytest.approx(1e-8, rel=1e-3)
    assert step(1e-12, ADAM.model_copy(update={"eps": 1e-16})) == pytest.approx(1e-4, rel=1e-3)
    assert step(1e-3, SGD) == pytest.approx(1e-4)
    assert step(0.0, ADAM) == step(0.0, SGD) == 0


def test_movement_is_what_steps_make_of_weights() -> None:
    assert movement(layers(1e-8), ADAM) == pytest.approx(0.5e-4 / 0.01)
    assert movement(layers(1e-8, 1e-8, 1e-8), ADAM) == pytest.approx(3 * 0.5e-4 / 0.01)
    assert movement(layers(1e-8, weights=0.1), ADAM) == pytest.approx(0.5e-4 / 0.1)
    assert movement(layers(1e-3), SGD) == pytest.approx(1e-4 / 0.01)


def test_a_layer_that_sees_the_same_for_every_image_does_not_count() -> None:
    assert movement(layers(1e-8, 1e-8, 1e-8, share=0.1), ADAM) == pytest.approx((1 + 0.1 + 0.1) * 0.5e-4 / 0.01)
    assert movement(layers(1e-8, 1e-8, share=0.0), ADAM) == pytest.approx(0.5e-4 / 0.01)


def test_weights_must_move_by_their_size_within_the_steps() -> None:
    rows = layers(1e-8, 1e-8)
    assert learns(rows, ADAM, steps=101) == "yes"
    assert learns(rows, ADAM, steps=99) == "no"
    assert learns(rows, ADAM, steps=0) == "no"
    assert learns(layers(1e-12, 1e-12), ADAM, steps=1000) == "no"
    assert learns(layers(1e-12, 1e-12), ADAM.model_copy(update={"eps": 1e-16}), steps=1000) == "yes"


def test_a_signal_below_the_steps_of_the_biases_leaves_it_to_the_seed() -> None:
    rows = layers(1e-3, 1e-3, logits=1e-3, share=0.2)
    assert weakest_signal(rows) == pytest.approx(2e-4)
    assert learns(rows, ADAM, steps=1000) == "yes"
    assert learns(rows, ADAM.model_copy(update={"lr": 3e-4}), steps=1000) == "seed"
    weak = rows[0]._replace(image_share=0.05)
    assert learns([weak, rows[1]], ADAM, steps=1000) == learns([rows[0], weak], ADAM, steps=1000) == "seed"
    assert learns([weak, rows[1]], SGD, steps=1000) == "yes"  # its steps are small where gradients are
    assert learns([weak, rows[1]], ADAM, steps=10) == "no"


@pytest.mark.parametrize("optimizer", [ADAM, SGD])
@pytest.mark.parametrize("gradient", [math.inf, math.nan])
def test_gradients_that_are_not_finite_move_nothing_to_a_useful_place(
    gradient: float, optimizer: OptimizerParams
) -> None:
    assert learns(layers(1e-3, gradient), optimizer, steps=1000) == "no"


@pytest.mark.parametrize(("logits", "verdict"), [(1e7, "yes"), (math.inf, "no"), (math.nan, "no")])
def test_large_outputs_learn_as_long_as_they_are_finite(logits: float, verdict: str) -> None:
    assert learns(layers(1.0, 1.0, logits=logits), ADAM, steps=1000) == verdict


def test_learned_is_half_as_good_again_as_guessing() -> None:
    assert learned(0.15, 10)
    assert not learned(0.149, 10)
    assert not learned(0.15, 5)
