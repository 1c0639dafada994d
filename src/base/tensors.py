"""Helpers for tensor arguments: check them, send them to the device, compute in float32 under autocast."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.base.errors import InputError

FLOATS = ("float32", "float64", "float16", "bfloat16")


def check(
    name: str,
    value: Any,
    dtype: str,
    shape: tuple[int | str, ...],
    *,
    array: type[Any] = Tensor,
    empty: bool = False,
    limits: str = "",
    hint: str = "",
) -> None:
    """Check type, dtype and shape. The check never waits for the device.

    Args:
        name: of the value, for the message.
        dtype: its name, or "float" for all `FLOATS`.
        shape: a number where the size is fixed, a letter where any size is allowed.
        array: `Tensor` or `np.ndarray`.
        empty: whether the first size may be 0.
        limits, hint: which values are allowed, and what to do, for the message.

    Raises:
        InputError: the value is something else. The message has what was found and what was expected.
    """
    expected = f"{dtype} [{', '.join(map(str, shape))}]{limits and f' {limits}'}"
    if isinstance(value, array):
        if _dtype(value) in (FLOATS if dtype == "float" else (dtype,)) and _fits(value.shape, shape, empty):
            return
    else:
        kind, convert = ("tensor", "torch.from_numpy({})") if array is Tensor else ("NumPy array", "{}.numpy()")
        expected = f"a {kind}, {expected}"
        hint = f"use {convert.format(name)}" if isinstance(value, Tensor | np.ndarray) else ""
    raise InputError(f"{name}: {_describe(value)}, expected {expected}{hint and f'; {hint}'}")


def check_labels(
    labels: Tensor | NDArray[Any], count: int | str, classes: int, *, dtype: str = "int64", array: type[Any] = Tensor
) -> None:
    """Check labels: an index in 0..classes-1 for each of `count` images. Values are read, so this waits for the device.

    Raises:
        InputError: the labels are something else.
    """
    limits = f"in 0..{classes - 1}"
    check("labels", labels, dtype, (count,), array=array, limits=limits, hint="one class index per image")
    if isinstance(labels, Tensor) and labels.is_meta:
        return  # such a tensor has no values
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(f"labels: {low}..{high}, expected {dtype} {limits}: the index of one of {classes} classes")


def _fits(sizes: Sequence[int], shape: Sequence[int | str], empty: bool) -> bool:
    return (
        len(sizes) == len(shape)
        and all(isinstance(expected, str) or size == expected for size, expected in zip(sizes, shape, strict=True))
        and (empty or sizes[0] > 0)
    )


def _dtype(value: Tensor | NDArray[Any]) -> str:
    return str(value.dtype).removeprefix("torch.")


def _describe(value: object) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{'NumPy array ' * isinstance(value, np.ndarray)}{_dtype(value)} {list(value.shape)}"
    return f"a {type(value).__name__}"


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy values from the CPU to a device. Only pinned memory is copied without waiting for a GPU."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context for what must be computed in float32 wherever it is called."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
