"""Too little memory is one line, wherever it is noticed."""

import numpy as np
import pytest
import torch

from src.base.errors import out_of_memory


def allocate_with_numpy() -> object:
    return np.ones(2**45)


def allocate_with_pytorch() -> object:
    return torch.ones(2**45)


def allocate_with_python() -> object:
    return bytearray(2**60)


@pytest.mark.parametrize("allocate", [allocate_with_numpy, allocate_with_pytorch, allocate_with_python])
def test_too_little_memory_is_one_line(allocate: object) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as error:
        allocate()  # type: ignore[operator]
    line = str(out_of_memory(error.value))
    assert line.startswith("too little memory: ")
    assert "lower batch_size or image.crop" in line
    assert len(line.splitlines()) == 1
    assert "alloc_cpu.cpp" not in line


def test_a_gpu_without_memory_is_one_line() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore lines")
    assert str(out_of_memory(error)).startswith("too little memory: CUDA out of memory. Tried to allocate 2 GiB; lower")
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory")]
)
def test_other_errors_are_not_about_memory(error: Exception) -> None:
    assert out_of_memory(error) is None
