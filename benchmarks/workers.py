"""What is compared, each in a process of its own, running in turns: one block of steps of each, then the next round.

A machine that slows down or is busy for a while slows all alike, settings of one process (threads, determinism) do not
reach another, and each has a peak memory of its own.
"""

import math
import multiprocessing
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

BLOCK_SECONDS = 1.0  # a block is at least that long, or one step


class Task(Protocol):
    """Something to time.

    Attributes:
        work: of one step, in what its rate shall count: images, FLOP, bytes.
    """

    work: float

    def step(self) -> None: ...


class Worker:
    """A task in a process of its own, which stands still between questions."""

    def __init__(self, make: Callable[..., Task], *arguments: Any) -> None:
        """Start the process; the task there is `make(*arguments)`, all of which must be picklable."""
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, make, arguments))
        self.process.start()
        other.close()

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """What `question(task, *arguments)` returns there.

        Raises:
            RuntimeError: it failed there; the message is its traceback.
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
    """The process of a worker: answer questions until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the one who asks ends, then nobody asks
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
            # Loader workers would read ahead at the expense of whoever is next; like this they stay as they are.
            for child in psutil.Process().children():
                child.suspend()
            connection.send((answer, failure))
    except (EOFError, BrokenPipeError):
        pass
    finally:
        for child in psutil.Process().children():
            child.resume()  # or they could not end


def block(task: Task, steps: int) -> float:
    """Seconds for some steps."""
    synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        task.step()
    synchronize()
    return time.perf_counter() - started


def work(task: Task) -> float:
    return task.work


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def peak_memory(_task: Task) -> int:
    """Bytes: of a GPU if one is used, else of the process and of what its loader workers do not share with it."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    children = psutil.Process().children()
    return peak_of(psutil.Process().pid) + sum(child.memory_full_info().uss for child in children)


def peak_of(process: int) -> int:
    """Most bytes that a process had in memory at once; Linux keeps count."""
    for line in Path("/proc", str(process), "status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # it has just ended


def interleave(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Work per second of each worker in each round, after a warm-up that also finds how many steps a block needs."""
    steps = {}
    for name, worker in workers.items():
        steps[name] = warm_up(worker)
        print(f"  {name}: warm, {steps[name]} steps a block", file=sys.stderr)
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for round_ in range(1, rounds + 1):
        for name, worker in workers.items():
            rates[name].append(worker.ask(work) * steps[name] / worker.ask(block, steps[name]))
        newest = ", ".join(f"{name} {rates[name][-1]:.4g}" for name in workers)
        print(f"  round {round_}/{rounds}: {newest}", file=sys.stderr)
    return rates


def warm_up(worker: Worker) -> int:
    """Run blocks, the last at least `BLOCK_SECONDS` or one step long, and return the steps that takes."""
    steps = 1
    while (seconds := worker.ask(block, steps)) < BLOCK_SECONDS:
        steps = math.ceil(steps * min(10.0, 1.2 * BLOCK_SECONDS / seconds))
    return steps


def median(rates: list[float]) -> float:
    return statistics.median(rates)
