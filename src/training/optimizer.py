"""The optimizers (SGD of section 3.1, and Adam) and the learning rate schedule of section 3.1."""

import sys
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.base.params import Eps, Positive, Section


class OptimizerParams(Section):
    """`optimizer` of params.yaml."""

    name: Literal["adam", "sgd"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    eps: Eps


class ScheduleParams(Section):
    """`schedule` of params.yaml."""

    name: Literal["constant", "plateau"]
    patience: Annotated[int, Field(ge=0, lt=2**31)]


def make_optimizer(network: nn.Module, params: OptimizerParams) -> Optimizer:
    """SGD with momentum, the paper's, or Adam. Weight decay is an L2 penalty on all weights and biases."""
    if params.name == "sgd":
        optimizer = SGD(
            network.parameters(), params.lr, momentum=params.momentum, weight_decay=params.weight_decay, fused=True
        )
        if params.momentum:
            # PyTorch makes these buffers in the first step. If a gradient overflows there (fp16), they stay unset.
            for weights in network.parameters():
                optimizer.state[weights]["momentum_buffer"] = torch.zeros_like(weights)
        return optimizer
    return Adam(network.parameters(), params.lr, eps=params.eps, weight_decay=params.weight_decay, fused=True)


def make_schedule(optimizer: Optimizer, params: ScheduleParams) -> ReduceLROnPlateau:
    """Divide the learning rate by 10 when validation accuracy stops improving, at most three times.

    `constant` is the same schedule with a patience that no run reaches.
    """
    return ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=0.1,
        patience=params.patience if params.name == "plateau" else sys.maxsize,
        threshold=0,
        min_lr=optimizer.param_groups[0]["lr"] * 1e-3,
        eps=0,
    )
