"""Where and how PyTorch computes: device, precision, number of threads, determinism."""

import math
import os
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import psutil
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import Field, PlainValidator
from torch import nn

from src.base.errors import InputError
from src.base.messages import say
from src.base.params import Section
from src.compute import processes
from src.compute.winograd import Conv3x3


def _auto_or_number(value: Any) -> int | Literal["auto"]:
    if value == "auto" or (type(value) is int and 1 <= value <= 1024):
        return value  # type: ignore[no-any-return]
    raise ValueError("Input should be auto or a number from 1 to 1024")


class RuntimeParams(Section):
    """`runtime` of params.yaml."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    deterministic: bool
    convolution: Literal["auto", "library", "winograd"]
    compile: bool
    devices: Annotated[int, Field(ge=1, le=64)]
    threads: Annotated[int | Literal["auto"], PlainValidator(_auto_or_number)]


REFERENCE = RuntimeParams(
    device="cpu",
    precision="fp32",
    convolution="library",
    deterministic=True,
    compile=False,
    devices=1,
    threads="auto",
)
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
        winograd: whether 3 x 3 convolutions use Winograd's algorithm where it is faster.
    """

    device: torch.device
    dtype: torch.dtype
    compile: bool
    winograd: bool = False

    def place(self, network: Network) -> Network:
        """Move a network to the device, in channels-last memory, the layout that tensor cores read fastest."""
        network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for layer in network.modules():
            if isinstance(layer, Conv3x3):
                layer.winograd = self.winograd
        if self.compile:
            network.compile()
        return network

    def autocast(self) -> AbstractContextManager[None]:
        """Compute matrix products and convolutions in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def __str__(self) -> str:
        threads = torch.get_num_threads()
        name = f"{torch.backends.cpu.get_cpu_capability()}, {threads} thread{'s' * (threads > 1)}"
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        times = f"{processes.size()} x " if processes.size() > 1 else ""
        return f"{times}{self.device.type} ({name}), {str(self.dtype).removeprefix('torch.')}"


def start_runtime(params: RuntimeParams) -> Runtime:
    """Choose device and precision, set PyTorch up for them in this process, and connect it with the other processes.

    When `params` leave the device open and there is a GPU that cannot be used, a line on stderr says why.

    Raises:
        InputError: `params` ask for a GPU that does not exist or cannot be used, for more GPUs than there are, for a
            compiler that does not work, or for Winograd's algorithm where there is none; or the processes cannot be
            connected.
    """
    _set_determinism(params)  # before anything else: NCCL, cuBLAS and the compiler look at it when they start
    # Vanishing activations become denormal numbers, which some processors add many times more slowly.
    torch.set_flush_denormal(True)
    # Processes on this machine. A run on several machines was started by torchrun, which sets this variable.
    local = int(os.environ.get("LOCAL_WORLD_SIZE", params.devices)) if params.devices > 1 else 1
    device, problem = _choose_device(params, local)
    if params.compile:
        _check_compiler(device)
    dtype = native_dtype(device) if params.precision == "auto" else DTYPES[params.precision]
    # Sums depend on the number of threads. No environment variable (OMP_NUM_THREADS, …) may choose it.
    threads = max(1, cores() // local) if params.threads == "auto" else params.threads
    if params.devices > 1:
        processes.join(device)
        # The processes compute alike, also on machines that differ.
        dtype, threads = processes.from_first(dtype), min(processes.gather(threads))
    torch.set_num_threads(threads)
    if problem and processes.is_first():
        say(f"runtime.device: auto: the GPU cannot be used ({problem}); the CPU is used")
    return Runtime(device, dtype, params.compile, _use_winograd(params, device, dtype))


def _set_determinism(params: RuntimeParams) -> None:
    if params.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it cuBLAS may choose another algorithm each time
        if params.compile:
            torch.use_deterministic_algorithms(True)  # tells the compiler too; that loads the compiler (1 s)
        else:
            torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = not params.deterministic
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32


NO_GPU = "no GPU found by PyTorch"


def _choose_device(params: RuntimeParams, local: int) -> tuple[torch.device, str]:
    """The device of this process, and why it is not the GPU that there is; empty where that needs no word.

    Args:
        local: the number of processes on this machine.
    """
    if params.device == "cpu":
        return torch.device("cpu"), ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            if local > (count := torch.cuda.device_count()):
                raise InputError(
                    f"params.yaml: runtime.devices: {params.devices}: this machine has {count} GPUs; lower it"
                )
            device = torch.device("cuda", dist.get_node_local_rank()) if params.devices > 1 else torch.device("cuda")
            problem = _gpu_problem(device)
            if not problem:
                return device, ""
        else:  # PyTorch warns when there is a GPU, for instance with a driver that is too old
            problem = _first_sentence(caught[0].message) if caught else NO_GPU
    if params.device == "cuda":
        raise InputError(f"params.yaml: runtime.device: 'cuda': {problem}; use auto or cpu")
    return torch.device("cpu"), "" if problem == NO_GPU else problem


def _gpu_problem(device: torch.device) -> str:
    """Why PyTorch cannot compute on a GPU; empty when it can.

    For an old or a very new GPU the kernels of PyTorch, cuDNN or cuBLAS may be missing, so each of them is tried.
    """
    try:
        images = F.conv2d(torch.ones(1, 8, 8, 8, device=device), torch.ones(8, 8, 3, 3, device=device))
        (images[0, 0] @ images[0, 1]).sum().item()
    except Exception as error:  # RuntimeError and others
        if "out of memory" in str(error):  # other programs use the GPU: no reason to train on the CPU
            raise
        return _first_sentence(error)
    return ""


def _first_sentence(message: object) -> str:
    return (str(message).strip().splitlines() or [""])[0].split(". ")[0].rstrip(".")


def _use_winograd(params: RuntimeParams, device: torch.device, dtype: torch.dtype) -> bool:
    possible = device.type == "cpu" and dtype == torch.float32 and not params.compile
    if params.convolution == "winograd" and not possible:
        raise InputError(
            "params.yaml: runtime.convolution: 'winograd': it needs a CPU, fp32 and runtime.compile: false; use auto"
        )
    return params.convolution != "library" and possible


def _check_compiler(device: torch.device) -> None:
    """Compile a small function.

    Raises:
        InputError: it cannot be compiled. Then the network cannot, either, which PyTorch says in ninety lines.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except Exception as error:  # of many kinds: no compiler, no header files, no Triton, a Python that is too new, …
        reason = _first_sentence(getattr(error, "inner_exception", error))
        raise InputError(
            f"params.yaml: runtime.compile: true: torch.compile does not work here ({reason}); "
            "install what it needs (a C++ compiler such as g++, and Triton for a GPU), or set runtime.compile: false"
        ) from None


def cores() -> int:
    """The number of the machine's physical cores (of logical ones, where those cannot be counted), within limits.

    The process's affinity and the quota of its container are limits. A quota of 1.5 cores gives 1: a thread that the
    quota stops keeps the others waiting. On two cores with this quota, two threads did 5 steps/s, and one did 14 to 20.
    """
    process = psutil.Process()
    allowed = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()  # not on macOS
    allowed = allowed or 1
    physical = psutil.cpu_count(logical=False)  # None on ARM boards, 1 in some containers
    if not physical or (physical == 1 and allowed > 2):
        physical = allowed
    return max(1, int(min(physical, allowed, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """How many CPUs Linux lets this process's container use (docker run --cpus, Kubernetes' limits); inf: no limit.

    Args:
        root: where proc/ and sys/ are.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    mount, quota = root / "sys/fs/cgroup", math.inf
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):  # none in version 2 of cgroups
            continue
        for top in (mount / controllers, mount / "cpu"):
            folder = top / path.lstrip("/")
            # The limits of the groups around it count too. In a container the path may be the host's.
            around = [parent for parent in (folder, *folder.parents) if parent.is_relative_to(top)]
            quota = min([quota, *map(_quota_of, around)])
    return quota


def _quota_of(group: Path) -> float:
    def read(name: str) -> list[str]:
        return (group / name).read_text(encoding="utf-8").split()

    try:
        if (group / "cpu.max").exists():
            time, period = read("cpu.max")
        else:
            time, period = read("cpu.cfs_quota_us") + read("cpu.cfs_period_us")
        return int(time) / int(period) if int(time) > 0 else math.inf
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def native_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it natively, else fp16 on a GPU, else fp32.

    bf16 comes first because it has the range of float32. Without a loss scaler, the small gradients of a badly
    initialised network (1e-9 and less) are zero in fp16. Emulated bf16 is slower than fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # before PyTorch 2.12
