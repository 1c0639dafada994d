"""Data-parallel training in several processes, one per device: the share of each process, and sums over all of them.

Every process has the whole network and all images. It takes its part of each batch, and the gradients are summed, so
the weights stay equal in all processes. With one process these functions do nothing. `src/compute/launch.py` starts the
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
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def part(count: int) -> slice:
    """The rows of this process out of `count`. All processes together have each row once, in order. May be empty."""
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
    """Connect this process, which torchrun started, with the others: NCCL between GPUs, Gloo between CPUs."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    if not is_first():
        # The first process handles a stop: it prints what is kept, and the others end when it leaves.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def leave() -> None:
    """Disconnect after the work is done."""
    if dist.is_initialized():
        dist.destroy_process_group()
