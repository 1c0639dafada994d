"""The limits of the machine, measured like everything else: a large matrix product and a large copy."""

import torch

from benchmarks.ways import device
from src.runtime import DTYPES, cores, native_dtype

COPIED = 2**30  # bytes, far beyond any cache


class MatrixProduct:
    """Square matrices multiplied; `work` is FLOP."""

    def __init__(self, precision: str) -> None:
        torch.set_num_threads(cores())
        side = matrix_side(precision)
        self.work = 2.0 * side**3
        a, b, c = torch.randn(3, side, side, device=device()).to(DTYPES[precision])  # zeros would be faster on a GPU
        self.a, self.b, self.c = a, b, c

    def step(self) -> None:
        torch.mm(self.a, self.b, out=self.c)


def matrix_side(precision: str) -> int:
    """Rows and columns: large enough for the highest rate, small enough for seconds."""
    if device().type == "cuda":
        return 8192
    emulated = precision == "bf16" and native_dtype(device()) != torch.bfloat16
    return 512 if emulated else 4096


class Copy:
    """A large tensor copied; `work` is bytes read and written."""

    def __init__(self) -> None:
        torch.set_num_threads(cores())
        self.source = torch.ones(COPIED // 4, device=device())
        self.target = torch.ones_like(self.source)
        self.work = 2.0 * COPIED

    def step(self) -> None:
        self.target.copy_(self.source)
