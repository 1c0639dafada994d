"""A task for the workers of the benchmarks, in a module of its own that other processes import quickly."""

import subprocess


class Counter:
    """Counts its steps; beside it runs a process, as loader workers do."""

    def __init__(self, per_step: float) -> None:
        self.work, self.steps = per_step, 0
        self.child = subprocess.Popen(["sleep", "1000"])

    def step(self) -> None:
        self.steps += 1


def steps(task: Counter) -> int:
    return task.steps


def child(task: Counter) -> int:
    return task.child.pid


def end_child(task: Counter) -> None:
    task.child.kill()
    task.child.wait()


def failing(_task: Counter) -> None:
    raise ValueError("no such thing")
