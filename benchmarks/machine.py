"""On what and with what a benchmark ran."""

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from src.runtime import cores

PACKAGES = ("torch", "torchvision", "dvc", "dvclive")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe() -> str:
    """Processor, GPU, memory, versions and commit, in one line."""
    parts = [f"{cores()} cores of {processor()} ({features()})", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    packages = ", ".join(f"{package} {version(package).partition('+')[0]}" for package in PACKAGES)
    return f"{', '.join(parts)}; Python {platform.python_version()}, {packages}; commit `{commit()}`"


def processor() -> str:
    return field("model name") or platform.processor() or platform.machine()


def features() -> str:
    """Those of `FEATURES`, kinds of vector and matrix units, that the processor has."""
    flags = field("flags").split()
    return ", ".join(feature for feature in FEATURES if feature in flags) or "no AVX2"


def field(name: str) -> str:
    """A field of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    match = re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)
    return match[1] if match else ""


def commit() -> str:
    """The commit, and whether files other than the report itself differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
