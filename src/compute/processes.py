"""Data-parallel training, one process per device: the part of each process, and sums over all processes.

Every process has the whole network and all images. Each process computes its part of each batch. The gradients are
summed over all processes. So the weights stay equal in all processes. With one process these functions do nothing.
`src/compute/launch.py` starts the processes.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from src.base.errors import InputError

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def part(count: int) -> slice:
    """The rows of `count` that belong to this process, perhaps none. Each row belongs to exactly one process."""
    return slice(rank() * count // size(), (rank() + 1) * count // size())


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def from_first(value: T) -> T:
    """The value of the first process. The values of the others are ignored."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def gather(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    if size() == 1:
        return [value]
    values: list[T] = [value] * size()
    dist.all_gather_object(values, value)
    return values


def read_alike(read: Callable[[], T], mark: Callable[[T], object], error: str) -> T:
    """What `read` gives, which each process calls. Returns when all processes have read the same.

    Args:
        read: reads a file. The first process is the first to read. If the file is replaced meanwhile, all read again.
        mark: something small that differs when the files differ.

    Raises:
        InputError: with the message `error`; the processes do not read the same.
    """
    for _ in range(3):
        if is_first():
            value = read()
        gather(None)  # waits for the first process
        if not is_first():
            value = read()
        marks = gather(mark(value))
        if all(other == marks[0] for other in marks):
            return value
    raise InputError(error)


class GradientSum:
    """Sums each gradient over all processes as soon as backward has computed it, while backward continues.

    There is one sum per parameter: VGG has few and large ones. PyTorch's DistributedDataParallel is not used because it
    orders its buckets anew after the first step. A run that was interrupted would then add in another order.
    """

    def __init__(self, network: nn.Module) -> None:
        self._pending: list[Any] = []  # handles of the sums that have started
        if size() > 1:
            for parameter in network.parameters():
                parameter.register_post_accumulate_grad_hook(self._start)  # type: ignore[no-untyped-call]

    def _start(self, parameter: Tensor) -> None:
        if parameter.grad is not None:  # always true here; the type checker does not know
            self._pending.append(dist.all_reduce(parameter.grad, async_op=True))

    def wait(self) -> None:
        """Wait until every gradient is the sum. On a GPU the device waits, not this process."""
        for work in self._pending:
            work.wait()
        self._pending.clear()


def join(device: torch.device) -> None:
    """Connect this process, which torchrun started, with the others: NCCL between GPUs, Gloo between CPUs.

    The first process handles a stop: it saves its state, prints what is kept and ends. The others take part in sums
    until then.

    Raises:
        InputError: only some of the processes have a GPU, or they cannot be connected.
    """
    # While PyTorch waits for the other processes, Python handles no signal. This way the system does.
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        store, number, count = next(rendezvous("env://"))
        store.set(f"device/{number}", device.type)
        if len({store.get(f"device/{other}") for other in range(count)}) > 1:
            raise InputError(
                "runtime.device: auto: some of the processes have a GPU, and some have none; set cpu or cuda"
            )
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", store=store, rank=number, world_size=count, device_id=device)
        else:
            dist.init_process_group("gloo", store=store, rank=number, world_size=count)
        me = psutil.Process()
        members = gather((me.pid, me.create_time()))
    except RuntimeError as error:  # a firewall, a name that does not resolve, …
        reason = str(error).splitlines()[0]
        raise InputError(f"runtime.devices: the processes cannot be connected with each other ({reason})") from None
    if not is_first():
        handlers = dict.fromkeys(handlers, signal.SIG_IGN)
        # All processes print the same lines.
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    for signal_number, handler in handlers.items():
        signal.signal(signal_number, handler)
    watched = members[1:] if is_first() else members[:1]
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


_left = threading.Event()
"""Whether this process has left the others after the work of all was done."""


def _end_with(members: list[tuple[int, float]]) -> None:
    """End this process soon after one of `members` (process id, time of start) has ended before all work was done.

    A sum to which a process no longer adds may wait for minutes (NCCL). Processes of other machines are not watched:
    torchrun ends this one when they end.
    """
    watched = []
    for pid, started in members:
        try:
            if (process := psutil.Process(pid)).create_time() == started:
                watched.append(process)
        except psutil.NoSuchProcess:  # on another machine, or it has just ended
            pass
    while not any(_has_ended(process) for process in watched):
        time.sleep(0.2)
    time.sleep(0.8)  # the time to leave, or to say why this process ends, too
    if not _left.is_set():
        os._exit(1)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def leave() -> None:
    """Disconnect after the work is done in all processes."""
    if dist.is_initialized():
        dist.barrier()
        _left.set()
        dist.destroy_process_group()
