"""Two processes of which one ends, for test_processes.py: python -m tests.compute.endings CASE FOLDER."""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from src.base import cli
from src.base.errors import InputError
from src.compute import launch, processes
from src.compute.runtime import start_runtime
from tests.conftest import PARAMS

CASE, FOLDER = sys.argv[1], Path(sys.argv[2])


def work() -> None:
    number = int(os.environ["RANK"])
    if CASE == "before joining" and number == 1:
        time.sleep(3)
        end("no such file")
    start_runtime(PARAMS.runtime.model_copy(update={"devices": 2, "threads": 1}))
    if CASE == "stopped":
        take_part()
    elif f"process {number}" == CASE:
        time.sleep(1)
        end("no such file")
    # Stands for a sum on a GPU to which the other process no longer adds: Python handles no signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    time.sleep(100)


def take_part() -> None:
    """As training does: after a signal, the first process goes on for some sums, writes a file and stops."""
    left: list[int] = []
    if processes.is_first():
        signal.signal(signal.SIGTERM, lambda *_: left.append(4))
        (FOLDER / "ready").touch()
    while True:
        assert processes.total(torch.ones(1)) == 2
        time.sleep(0.5)
        if left:
            left[0] -= 1
            if left[0] == 0:
                (FOLDER / "saved").touch()
                mark()
                raise KeyboardInterrupt("kept")


def end(reason: str) -> None:
    mark()
    raise InputError(reason)


def mark() -> None:
    """Note when this process ends."""
    (FOLDER / "ended").write_text(str(time.time()), encoding="utf-8")


if __name__ == "__main__":
    cli.run(lambda: launch.on_each_device(2, work))
