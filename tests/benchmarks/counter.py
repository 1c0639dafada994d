"""A task for the workers of the benchmarks, in a module of its own that their processes import quickly."""

import subprocess


class Counter:
    """Counts its steps. A child process runs beside it, as a loader worker does."""

    def __init__(self, work: float) -> None:
        self.work, self.steps = work, 0
        self.child = subprocess.Popen(["sleep", "60"])

    def step(self) -> None:
        self.steps += 1


def fail(_task: Counter) -> None:
    raise ValueError("no such thing")
