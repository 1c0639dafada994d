"""Choice of device, precision and threads; a GPU is mocked."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from src.base.errors import InputError
from src.compute import processes, runtime
from src.compute.runtime import RuntimeParams, native_dtype, start_runtime

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def params(**values: Any) -> RuntimeParams:
    return RuntimeParams.model_validate(runtime.REFERENCE.model_dump() | values)


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"runtime.device: 'cuda': no GPU found by PyTorch"):
        start_runtime(params(device="cuda"))
    assert start_runtime(params(device="auto")).device == CPU
    assert capsys.readouterr().err == ""


OLD_DRIVER = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading a new version. (Triggered internally at /pytorch/c10/cuda/CUDAFunctions.cpp:109.)"
)
NO_KERNEL = """CUDA error: no kernel image is available for execution on the device
Search for `cudaErrorNoKernelImageForDevice' in the CUDA documentation for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
"""
FAULTS: dict[str, Exception | str] = {
    "The NVIDIA driver on your system is too old (found version 11040)": OLD_DRIVER,
    "CUDA error: no kernel image is available for execution on the device": RuntimeError(NO_KERNEL),
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH": RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH"
    ),
    "CUDA call failed lazily at initialization with error: device >= 0": torch.cuda.DeferredCudaCallError(
        "CUDA call failed lazily at initialization with error: device >= 0\n\nCUDA call was originally invoked at: …"
    ),
}


def break_the_gpu(monkeypatch: pytest.MonkeyPatch, fault: Exception | str) -> None:
    """As PyTorch behaves: a warning and no GPU, or a GPU on which the first kernel fails."""

    def is_available() -> bool:
        if isinstance(fault, str):
            warnings.warn(fault, stacklevel=2)
        return not isinstance(fault, str)

    def fail(*_: Any, **__: Any) -> NoReturn:
        warnings.warn("Found GPU0 of compute capability 3.5.\nThe following list shows …", stacklevel=2)
        assert isinstance(fault, Exception)
        raise fault

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", fail)


@pytest.mark.parametrize("reason", FAULTS)
@pytest.mark.filterwarnings("error")
def test_a_gpu_that_cannot_be_used_is_said_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    break_the_gpu(monkeypatch, FAULTS[reason])
    assert start_runtime(params(device="auto")).device == CPU
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("runtime.device: auto: the GPU cannot be used (")
    assert f"{reason})" in line
    with pytest.raises(InputError) as error:
        start_runtime(params(device="cuda"))
    assert "\n" not in str(error.value)
    assert f"{reason};" in str(error.value)


def test_a_gpu_without_free_memory_is_no_reason_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_gpu(monkeypatch, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB."))
    with pytest.raises(torch.OutOfMemoryError):
        start_runtime(params(device="auto"))


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_the_gpu_when_there_is_one(monkeypatch: pytest.MonkeyPatch, available: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(available))
    monkeypatch.setattr(runtime, "_gpu_problem", lambda _device: "")
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


def test_determinism_is_set_before_anything_starts_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL, cuBLAS and cuDNN look at it when they start."""
    seen = []

    def look(_device: torch.device) -> str:
        flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
        seen.append((torch.get_deterministic_debug_mode(), os.environ["CUBLAS_WORKSPACE_CONFIG"], *flags))
        return ""

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    torch.set_deterministic_debug_mode("default")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    monkeypatch.setattr(runtime, "_gpu_problem", look)
    monkeypatch.setattr(processes, "join", look)
    assert start_runtime(params(device="cuda", devices=2)).device == torch.device("cuda", 1)
    assert seen == [(2, ":4096:8", False, False, False)] * 2


def test_a_compiler_hears_of_determinism(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_check_compiler", lambda _device: None)
    told: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", told.append)
    start_runtime(params(deterministic=True, compile=True))
    assert told == [True]


def test_setting_up_loads_no_compiler() -> None:  # which takes a second
    code = "import sys; from src.compute import runtime; runtime.start_runtime(runtime.REFERENCE); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" in result.stdout.split()
    assert "torch._dynamo" not in result.stdout.split()


def test_a_placed_network_is_channels_last_and_computes_the_same() -> None:
    network = torch.nn.Conv2d(3, 4, 3)
    images = torch.randn(2, 3, 8, 8)
    before = network(images)
    placed = runtime.Runtime(CPU, torch.float32, compile=False).place(network)
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(placed(images), before)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["false", "/nowhere/g++"])
def test_a_compiler_that_does_not_work_is_said_before_any_work(tmp_path: Path, compiler: str) -> None:
    code = "from src.base import cli; from src.compute.runtime import *; "
    code += "cli.run(lambda: start_runtime(REFERENCE.model_copy(update={'compile': True})))"
    environment = os.environ | {"CXX": compiler, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "CUDA_HOME": ""}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: params.yaml: runtime.compile: true: ")
    assert "No working C++ compiler" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_a_compiled_network_computes_the_same_and_keeps_its_names() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    images = torch.randn(2, 3, 8, 8)
    before, names = network(images), list(network.state_dict())
    placed = runtime.Runtime(CPU, torch.float32, compile=True).place(network)
    torch.testing.assert_close(placed(images), before)
    assert list(placed.state_dict()) == names
