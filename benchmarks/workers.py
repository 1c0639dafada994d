"""Time all tasks in turn, each in its own process. A round times one block of steps of each task.

If the machine becomes slower for some time, all tasks become slower. The settings of one process (threads, determinism)
do not affect another process. Each process has its own peak memory.
"""

import math
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

from benchmarks.machine import synchronize

BLOCK_SECONDS = 1.0
"""A block takes at least this long, or is one step."""


class Task(Protocol):
    """Something to time.

    Attributes:
        work: of one step, in the unit of its rate: images, FLOP or bytes.
    """

    work: float

    def step(self) -> None: ...


class Worker:
    """A task in a process of its own. The process and its children stand still between questions."""

    def __init__(self, make: Callable[..., Task], *arguments: Any) -> None:
        """Start the process. It makes the task, `make(*arguments)`, when it gets the first question.

        All arguments must be picklable.
        """
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, make, arguments))
        self.process.start()
        other.close()

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `question(task, *arguments)` returns in the process.

        Raises:
            RuntimeError: the question failed there. The message is the traceback.
        """
        self.connection.send((question, arguments))
        try:
            answer, failure = self.connection.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"the process of a benchmark ended with {self.process.exitcode}") from None
        if failure:
            raise RuntimeError(failure)
        return answer

    def close(self) -> None:
        self.connection.close()
        self.process.join()


def serve(connection: Connection, make: Callable[..., Task], arguments: tuple[Any, ...]) -> None:
    """Answer questions in the process of a worker until the connection is closed."""
    # Ctrl-C reaches all processes. The one that asks ends and closes the connection, then this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = None
    try:
        while True:
            question, more = connection.recv()
            for child in psutil.Process().children():
                child.resume()
            try:
                task = task or make(*arguments)
                answer, failure = question(task, *more), ""
            except Exception:
                answer, failure = None, traceback.format_exc()
            # Loader workers would load the next batches while another contestant is timed.
            for child in psutil.Process().children():
                child.suspend()
            connection.send((answer, failure))
    except (EOFError, BrokenPipeError):
        pass
    finally:
        for child in psutil.Process().children():
            child.resume()  # a suspended process cannot end


def block(task: Task, steps: int) -> float:
    """Seconds for `steps` steps."""
    synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        task.step()
    synchronize()
    return time.perf_counter() - started


def peak_memory(_task: Task) -> int:
    """Most bytes in use at once: of the GPU if one is used, else of the process, plus what its children do not share.

    Of the children it is what they use now.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    return peak + sum(child.memory_full_info().uss for child in psutil.Process().children())


def interleave(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[float]]:
    """The work per second of each worker in each round, after a warm-up that also finds the steps of a block."""
    steps = {}
    for name, worker in workers.items():
        steps[name] = warm_up(worker)
        print(f"  {name}: warm, {steps[name]} steps per block", file=sys.stderr)
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for round_ in range(1, rounds + 1):
        for name, worker in workers.items():
            rates[name].append(worker.ask(attrgetter("work")) * steps[name] / worker.ask(block, steps[name]))
        newest = ", ".join(f"{name} {rates[name][-1]:.4g}" for name in workers)
        print(f"  round {round_}/{rounds}: {newest}", file=sys.stderr)
    return rates


def warm_up(worker: Worker) -> int:
    """Run longer and longer blocks until one takes `BLOCK_SECONDS`. Returns the steps of that block."""
    steps = 1
    while (seconds := worker.ask(block, steps)) < BLOCK_SECONDS:
        steps = math.ceil(steps * min(10.0, 1.2 * BLOCK_SECONDS / seconds))
    return steps
