"""The machine and the software that a benchmark ran on."""

import datetime
import platform
import subprocess
from importlib.metadata import version

import psutil
import torch

from src.compute.runtime import cores, native_dtype


def device() -> torch.device:
    """Where everything is measured: the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_full_fp32() -> None:
    """Let fp32 mean fp32 in this process. PyTorch's default for cuDNN's convolutions on a GPU is TF32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def synchronize() -> None:
    """Wait for the GPU, if this process uses one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def describe() -> str:
    """Date, processor, memory, GPU, versions and commit, in one line."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # since PyTorch 2.12
    processor = capabilities.get("cpu_name") or platform.processor() or platform.machine()
    bf16 = "native bf16" if native_dtype(torch.device("cpu")) == torch.bfloat16 else "no native bf16"
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    packages = ", ".join(f"{package} {version(package).partition('+')[0]}" for package in ("torch", "torchvision"))
    return (
        f"{datetime.datetime.now(datetime.UTC).date()}; {cores()} cores of {processor} "
        f"({torch.backends.cpu.get_cpu_capability()}, {bf16}), {memory}{gpu}; "
        f"Python {platform.python_version()}, {packages}; commit `{commit()}`"
    )


def commit() -> str:
    """The commit, and whether tracked files outside docs/ differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
