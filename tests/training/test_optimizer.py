"""Optimizer and schedule against their formulas."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from src.training.optimizer import OptimizerParams, ScheduleParams, make_optimizer, make_schedule
from src.training.run import Epochs
from tests.conftest import PARAMS

SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "eps": 1e-8}


def test_sgd_is_the_papers_update() -> None:
    """v = 0.9 v + gradient + 5e-4 w; w = w - lr v, two steps by hand."""
    layer = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(layer, PARAMS.optimizer.model_copy(update=SGD))
    w, v = layer.weight.item(), 0.0
    for _ in range(2):
        optimizer.zero_grad()
        layer(torch.tensor([[3.0]])).sum().backward()
        optimizer.step()
        v = 0.9 * v + 3.0 + 5e-4 * w
        w -= 0.05 * v
        assert layer.weight.item() == pytest.approx(w, rel=1e-5)


@pytest.mark.parametrize("changes", [SGD, {}], ids=["sgd", "adam"])
def test_an_overflow_in_the_first_step_is_skipped(changes: dict[str, object]) -> None:
    """As in fp16: the scaler skips the step, and the next ones are those of a run without it."""
    weights = []
    for factors in ([1.0, 1.0], [float("inf"), 1.0, 1.0]):
        torch.manual_seed(0)
        layer = nn.Linear(100, 1)
        optimizer = make_optimizer(layer, PARAMS.optimizer.model_copy(update=changes))
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for factor in factors:
            optimizer.zero_grad()
            scaler.scale(layer(torch.ones(1, 100)).sum() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
        weights.append(layer.weight.detach())
    assert torch.equal(*weights)


def test_adams_eps_reaches_the_update() -> None:
    """The first step of Adam is lr * g / (|g| + eps): with g = eps it is half of lr."""
    layer = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(layer, PARAMS.optimizer.model_copy(update={"eps": 1e-3}))
    before = layer.weight.item()
    (layer(torch.tensor([[1.0]])).sum() * 1e-3).backward()
    optimizer.step()
    assert before - layer.weight.item() == pytest.approx(1e-3 / 2, rel=1e-3)


def test_plateau_divides_by_ten_three_times() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), PARAMS.optimizer)
    schedule = make_schedule(optimizer, PARAMS.schedule.model_copy(update={"name": "plateau", "patience": 1}))
    rates = []
    for accuracy in [0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]:
        schedule.step(accuracy)
        rates.append(optimizer.param_groups[0]["lr"])
    expected = [1e-3] * 3 + [1e-4] * 3 + [1e-5] * 2 + [1e-6] * 4
    assert rates == pytest.approx(expected)


def test_constant_is_constant() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), PARAMS.optimizer)
    schedule = make_schedule(optimizer, PARAMS.schedule)
    for _ in range(100):
        schedule.step(0.1)
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_numbers_that_training_cannot_use_are_refused() -> None:
    """An eps that is 0 in float32 divides by 0; other numbers do not fit where they are counted or stored."""
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.0{37}12"):
        OptimizerParams.model_validate(PARAMS.optimizer.model_dump() | {"eps": 1e-60})
    with pytest.raises(ValidationError, match="less than 2147483648"):
        ScheduleParams(name="plateau", patience=10**700)
    with pytest.raises(ValidationError, match="less than 2147483648"):
        TypeAdapter(Epochs).validate_python(10**400)
