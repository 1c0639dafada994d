"""Where and how PyTorch computes: device, precision, number of threads, determinism."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import psutil
import torch
import torch.distributed as dist
from pydantic import Field
from torch import nn

from src.base.errors import InputError
from src.base.params import Section
from src.compute import processes


class RuntimeParams(Section):
    """`runtime` of params.yaml."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    deterministic: bool
    compile: bool
    devices: Annotated[int, Field(ge=1, le=64)]


REFERENCE = RuntimeParams(device="cpu", precision="fp32", deterministic=True, compile=False, devices=1)
"""For measurements that must not depend on the device."""

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """PyTorch, set up for this process.

    Attributes:
        device: of data and weights.
        dtype: of matrix products and convolutions; weights and sums stay float32.
        compile: whether networks are compiled before training.
    """

    device: torch.device
    dtype: torch.dtype
    compile: bool

    def place(self, network: Network) -> Network:
        """Move a network to the device, in channels-last memory, the layout that tensor cores read fastest."""
        network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile:
            network.compile()
        return network

    def autocast(self) -> AbstractContextManager[None]:
        """Compute matrix products and convolutions in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def __str__(self) -> str:
        name = (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else f"{torch.get_num_threads()} cores"
        )
        times = f"{processes.size()} x " if processes.size() > 1 else ""
        return f"{times}{self.device.type} ({name}), {str(self.dtype).removeprefix('torch.')}"


def start_runtime(params: RuntimeParams) -> Runtime:
    """Choose device and precision, and set PyTorch up for them in this process.

    Raises:
        InputError: `params` ask for a GPU that does not exist, or for more GPUs than there are.
    """
    if params.device == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: runtime.device: 'cuda': no GPU found by PyTorch; use auto or cpu")
    use_gpu = params.device == "cuda" or (params.device == "auto" and torch.cuda.is_available())
    if use_gpu and params.devices > torch.cuda.device_count():
        raise InputError(
            f"params.yaml: runtime.devices: {params.devices}: this machine has {torch.cuda.device_count()} GPUs"
        )
    device = torch.device("cuda" if use_gpu else "cpu")
    if params.devices > 1:
        if use_gpu:
            device = torch.device("cuda", dist.get_node_local_rank())
        processes.join(device)
    dtype = native_dtype(device) if params.precision == "auto" else DTYPES[params.precision]

    # Sums depend on the number of threads. No environment variable (OMP_NUM_THREADS, …) may choose it.
    torch.set_num_threads(max(1, cores() // params.devices))
    # Vanishing activations become denormal numbers, which some processors add many times more slowly.
    torch.set_flush_denormal(True)
    if params.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it cuBLAS may choose another algorithm each time
        if params.compile:
            torch.use_deterministic_algorithms(True)  # also tells the compiler, which takes a second to load
        else:
            torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = not params.deterministic
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    return Runtime(device, dtype, params.compile)


def cores() -> int:
    """The number of physical cores that this process may use."""
    process = psutil.Process()
    allowed = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()
    return min(psutil.cpu_count(logical=False) or 1, allowed or 1)


def native_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it natively, else fp16 on a GPU, else fp32.

    bf16 comes first because it has the range of float32. The gradients of a badly initialised network (1e-9 and
    less) are zero in fp16. Emulated bf16 is slower than fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # before PyTorch 2.12
