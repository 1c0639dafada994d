"""The number of threads: physical cores, the limits of a container, other processes, a parameter."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from pydantic import ValidationError

from src.compute import processes, runtime
from src.compute.runtime import start_runtime
from tests.compute.test_runtime import params


def test_no_environment_variable_chooses_the_threads() -> None:
    code = "from src.compute.runtime import *; start_runtime(REFERENCE); print(torch.get_num_threads())"
    environment = os.environ | {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "7"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(result.stdout) == runtime.cores()


GRADIENTS = """
import stages
import torch, torch.nn.functional as F
from src.compute.runtime import REFERENCE, start_runtime
start_runtime(REFERENCE.model_copy(update={"threads": 2}))
images, weights = torch.randn(32, 3, 32, 32), torch.randn(64, 3, 3, 3, requires_grad=True)
exact = weights.detach().double().requires_grad_()
for inputs, values in ((images, weights), (images.double(), exact)):
    F.conv2d(inputs, values, padding=1).square().sum().backward()
print((weights.grad - exact.grad).norm().item() / exact.grad.norm().item())
"""


@pytest.mark.parametrize(
    "variable",
    ["OMP_DYNAMIC=true", "OMP_THREAD_LIMIT=1", pytest.param("OMP_MAX_ACTIVE_LEVELS=0", marks=pytest.mark.slow)],
)
def test_no_environment_variable_takes_threads_away(variable: str) -> None:
    """With fewer threads than PyTorch asked for, oneDNN would leave out a part of these gradients."""
    name, _, value = variable.partition("=")
    command, environment = [sys.executable, "-c", GRADIENTS], os.environ | {name: value}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(result.stdout) < 1e-5


@pytest.mark.parametrize(
    ("physical", "allowed", "quota", "expected"),
    [
        (8, 12, math.inf, 8),
        (8, 3, math.inf, 3),
        (None, 4, math.inf, 4),  # ARM boards
        (0, 4, math.inf, 4),
        (1, 4, math.inf, 4),  # some containers
        (1, 2, math.inf, 1),  # one core with two threads
        (1, 1, math.inf, 1),
        (8, 16, 2.5, 2),
        (None, 4, 0.5, 1),
    ],
)
def test_cores_are_physical_allowed_and_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, physical: int | None, allowed: int, quota: float, expected: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else physical)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _self: list(range(allowed)), raising=False)
    monkeypatch.setattr(runtime, "cpu_quota", lambda: quota)
    assert runtime.cores() == expected


@pytest.mark.parametrize(("physical", "expected"), [(10, 10), (None, 16)])
def test_cores_without_an_affinity(monkeypatch: pytest.MonkeyPatch, physical: int | None, expected: int) -> None:
    """macOS has none."""
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else physical)
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    monkeypatch.setattr(runtime, "cpu_quota", lambda: math.inf)
    assert runtime.cores() == expected


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 50000\n"}, 4),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/docker/of/the/host\n", {"cpu.max": "300000 100000\n"}, 3),
        ("5:cpu,cpuacct:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "20000"}, 2.5),
        ("5:cpuacct,cpu:/\n", {"cpuacct,cpu/cpu.cfs_quota_us": "7", "cpuacct,cpu/cpu.cfs_period_us": "1"}, 7),
        ("5:cpu:/\n1:name=systemd:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:cpuset:/a\n", {"a/cpu.max": "100000 100000"}, math.inf),
    ],
)
def test_quotas_of_both_versions_of_cgroups(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: float
) -> None:
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{k}": v for k, v in limits.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert runtime.cpu_quota(tmp_path) == expected


def test_no_quota_without_cgroups(tmp_path: Path) -> None:
    assert runtime.cpu_quota(tmp_path) == math.inf
    assert runtime.cpu_quota() > 0


def test_a_parameter_sets_the_threads_and_the_line_says_them() -> None:
    for threads in (1, 3):
        line = str(start_runtime(params(threads=threads)))
        assert torch.get_num_threads() == threads
        kernels = torch.backends.cpu.get_cpu_capability()  # a state of training must not go on with others
        assert line == f"cpu ({kernels}, {threads} thread{'' if threads == 1 else 's'}), float32"


@pytest.mark.parametrize("threads", [0, -1, 1025, 1.5, "4", "many", True, None])
def test_threads_are_auto_or_a_number(threads: Any) -> None:
    with pytest.raises(ValidationError) as error:
        params(threads=threads)
    (problem,) = error.value.errors()
    assert problem["loc"] == ("threads",)
    assert problem["msg"] == "Value error, Input should be auto or a number from 1 to 1024"


@pytest.mark.parametrize(("here", "expected"), [(8, 2), (4, 4), (1, 16), (32, 1)])
def test_the_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch, here: int, expected: int) -> None:
    monkeypatch.setattr(runtime, "cores", lambda: 16)
    monkeypatch.setattr(processes, "join", lambda _device: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    start_runtime(params(devices=8))
    assert torch.get_num_threads() == expected
    monkeypatch.setattr(processes, "gather", lambda threads: [threads, 3])  # a machine with fewer cores
    start_runtime(params(devices=8))
    assert torch.get_num_threads() == min(expected, 3)
