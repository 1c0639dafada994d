"""One run on several devices, a process each: what this process's share of the work is, and how to put shares together.

Every process has the whole network and all images. Of each batch it takes its part, and the gradients are summed, so
that the weights stay the same everywhere. With one process all of this does nothing. `src/launch.py` starts the
processes.
"""

import signal
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return rank() == 0


def part(count: int) -> slice:
    """This process's rows of `count`: all processes together have each row once, in order; a part can be empty."""
    return slice(rank() * count // size(), (rank() + 1) * count // size())


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def from_first(value: T) -> T:
    """What the first process has; the others' own value is not looked at."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def everyones(value: T) -> list[T]:
    """What each process has, in their order."""
    if size() == 1:
        return [value]
    values: list[T] = [value] * size()
    dist.all_gather_object(values, value)
    return values


class GradientSum:
    """Sums the gradients over all processes, each as soon as it is there, while backward goes on with earlier layers.

    One sum a parameter: VGG has few and large ones. Unlike with PyTorch's DistributedDataParallel, which orders its
    buckets anew after the first step, a run that goes on after an interruption adds in the order it would have
    had without it.
    """

    def __init__(self, network: nn.Module) -> None:
        self._sums: list[Any] = []  # handles of sums under way
        if size() > 1:
            for parameter in network.parameters():
                parameter.register_post_accumulate_grad_hook(self._start)  # type: ignore[no-untyped-call]

    def _start(self, parameter: Tensor) -> None:
        if parameter.grad is not None:  # always, when this is called; for the type checker
            self._sums.append(dist.all_reduce(parameter.grad, async_op=True))

    def wait(self) -> None:
        """Until every gradient is the sum; on a GPU it is the device that waits, not this process."""
        for work in self._sums:
            work.wait()
        self._sums.clear()


def join(device: torch.device) -> None:
    """Become one of the processes that torchrun has started: NCCL between GPUs, Gloo between CPUs."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    if not is_first():
        # A stop is the first one's to handle: it says what is kept, and ends the others by leaving them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def leave() -> None:
    """The work is done."""
    if dist.is_initialized():
        dist.destroy_process_group()
