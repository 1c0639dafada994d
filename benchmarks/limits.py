"""The limits of the machine, measured like everything else: a large matrix product and a large copy."""

import torch

from benchmarks.machine import device, use_full_fp32
from src.compute.runtime import DTYPES, cores, native_dtype

COPY_BYTES = 2**30  # far more than any cache holds


class MatrixProduct:
    """The product of two square matrices. `work` is FLOP.

    Args:
        precision: a key of `DTYPES`.
    """

    def __init__(self, precision: str) -> None:
        use_full_fp32()
        torch.set_num_threads(cores())
        # Large enough for the highest rate. Without hardware for the precision, small enough for a product in seconds.
        native = precision == "fp32" or native_dtype(device()) == DTYPES[precision]
        side = 8192 if device().type == "cuda" else 4096 if native else 512
        self.work = 2.0 * side**3
        # Random numbers, because a GPU multiplies zeros faster: it needs less power for them.
        self.a, self.b, self.c = torch.randn(3, side, side, device=device()).to(DTYPES[precision])

    def step(self) -> None:
        torch.mm(self.a, self.b, out=self.c)


class Copy:
    """The copy of a large tensor. `work` is the bytes read plus the bytes written."""

    def __init__(self) -> None:
        torch.set_num_threads(cores())
        self.source = torch.ones(COPY_BYTES // 4, device=device())
        self.target = torch.ones_like(self.source)
        self.work = 2.0 * COPY_BYTES

    def step(self) -> None:
        self.target.copy_(self.source)
