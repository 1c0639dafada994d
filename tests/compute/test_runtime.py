"""Choice of device, precision and threads; a GPU is mocked."""

import os
import shutil
import subprocess
import sys
from typing import Any

import psutil
import pytest
import torch

from src.base.errors import InputError
from src.compute import runtime
from src.compute.runtime import RuntimeParams, native_dtype, start_runtime

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def params(**values: Any) -> RuntimeParams:
    defaults = {"device": "cpu", "precision": "fp32", "deterministic": True, "compile": False, "devices": 1}
    return RuntimeParams.model_validate(defaults | values)


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"runtime.device: 'cuda': no GPU found by PyTorch"):
        start_runtime(params(device="cuda"))
    assert start_runtime(params(device="auto")).device == CPU


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_the_gpu_when_there_is_one(monkeypatch: pytest.MonkeyPatch, available: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(available))
    assert start_runtime(params(device="auto")).device.type == expected


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"runtime.devices: 3: this machine has 2 GPUs"):
        start_runtime(params(device="auto", devices=3))


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
)
def test_gpus_use_bf16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert native_dtype(CUDA) == dtype


@pytest.mark.parametrize(
    ("amx", "avx512", "dtype"),
    [(True, True, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_cpus_use_bf16_only_when_it_is_native(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx512: bool, dtype: torch.dtype
) -> None:
    found = {"amx_bf16": amx, "avx512_bf16": avx512}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert native_dtype(CPU) == dtype
    assert start_runtime(params(precision="auto")).dtype == dtype
    assert start_runtime(params(precision="fp32")).dtype == torch.float32


def test_an_older_pytorch_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch 2.11 has no `get_capabilities`."""
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for native, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        assert native_dtype(CPU) == dtype


def test_fp32_is_fp32_and_the_others_are_not() -> None:
    a = torch.randn(8, 8)
    for precision, dtype in runtime.DTYPES.items():
        with start_runtime(params(precision=precision)).autocast():
            assert (a @ a).dtype == dtype


def test_determinism_is_asked_for() -> None:
    start_runtime(params(deterministic=True))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_compiler_hears_of_determinism(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", told.append)
    start_runtime(params(deterministic=True, compile=True))
    assert told == [True]


def test_setting_up_loads_no_compiler() -> None:  # which takes a second
    code = "import sys; from src.compute import runtime; runtime.start_runtime(runtime.REFERENCE); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" in result.stdout.split()
    assert "torch._dynamo" not in result.stdout.split()


def test_no_environment_variable_chooses_the_threads() -> None:
    code = "from src.compute.runtime import *; start_runtime(REFERENCE); print(torch.get_num_threads())"
    environment = os.environ | {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "7"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(result.stdout) == runtime.cores()


def test_cores_are_physical_and_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _self: list(range(12)), raising=False)
    assert runtime.cores() == 8
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _self: [0, 1, 2], raising=False)
    assert runtime.cores() == 3


def test_a_placed_network_is_channels_last_and_computes_the_same() -> None:
    network = torch.nn.Conv2d(3, 4, 3)
    images = torch.randn(2, 3, 8, 8)
    before = network(images)
    placed = runtime.Runtime(CPU, torch.float32, compile=False).place(network)
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(placed(images), before)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_a_compiled_network_computes_the_same_and_keeps_its_names() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    images = torch.randn(2, 3, 8, 8)
    before, names = network(images), list(network.state_dict())
    placed = runtime.Runtime(CPU, torch.float32, compile=True).place(network)
    torch.testing.assert_close(placed(images), before)
    assert list(placed.state_dict()) == names
