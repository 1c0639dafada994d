"""The study's check of what rounding leaves of the signal."""

import copy
import math

import pytest
import torch

from src.inspection.signals import sample
from src.networks.initialization import Init, build
from study.rounding import errors
from tests.conftest import coloured_squares

DATA = coloured_squares(8)  # few: fp64, and bf16 where it is not native, are slow
IMAGES, _ = sample(DATA, 0)


def measured(init: Init, bias: float = 0) -> tuple[float, float, float, float]:
    network = build("A", DATA.format, seed=0, init=init, init_std=0.01, dropout=0)
    with torch.no_grad():
        network.get_parameter("fc8.bias").add_(bias)
    return errors(network, IMAGES)


def test_the_signal_is_what_differs_between_images() -> None:
    network = build("A", DATA.format, seed=0, init="kaiming", init_std=0.01, dropout=0)
    with torch.inference_mode():
        outputs = copy.deepcopy(network).double()(IMAGES.double())
    size, signal, _, _ = errors(network, IMAGES)
    assert size == pytest.approx(outputs.square().mean().sqrt().item())
    assert signal == pytest.approx(math.sqrt(outputs.var(dim=0, correction=0).mean()))


def test_what_is_the_same_for_all_images_is_no_signal() -> None:
    size, signal, *_ = measured("kaiming")
    larger, same, fp32, bf16 = measured("kaiming", bias=1000)
    assert same == pytest.approx(signal)
    assert larger == pytest.approx(math.hypot(1000, size), rel=0.01)
    assert fp32 * signal == pytest.approx(2**-14 / math.sqrt(12), rel=0.2)  # fp32 has steps of 2^-14 around 1000
    assert bf16 < 0.1  # the last layer computes in fp32


def test_errors_are_those_of_the_precision() -> None:
    """The unit roundoff is 2^-24 in fp32 and 2^-9 in bf16."""
    for init in ("normal", "kaiming"):
        _, _, fp32, bf16 = measured(init)
        assert 2**-24 < fp32 < 1000 * 2**-24  # how much more depends on the processor and on the threads
        assert 2**-9 < bf16 < 100 * 2**-9
