"""The command line of every stage and script: its flags, and how the process ends."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from src.base.errors import InputError, out_of_memory
from src.base.messages import say


def paths(description: str | None, *names: str) -> argparse.Namespace:
    """Parse one required flag per name (`--name PATH`), as `dvc.yaml` passes them. Each value is a `Path`.

    Raises:
        InputError: DVC runs the stage, and a path leads out of the project through a link.
    """
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="PATH")
    parsed = parser.parse_args()
    if os.environ.get("DVC_ROOT"):
        for path in vars(parsed).values():
            if not path.parent.resolve().is_relative_to(Path.cwd().resolve()):
                # DVC would say so too, but only after the stage has run.
                raise InputError(
                    f"{path.parent}: leads out of the project through a link, and DVC refuses that; remove the link; "
                    "to use another disk: `dvc cache dir --local FOLDER`, `dvc config --local cache.type symlink`"
                )
    return parsed


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage and exit: with 0, with 1 and one line on stderr, or with 128 + the signal that stopped the stage."""
    stopped_by = signal.SIGINT

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, stop)  # the terminal is gone
    open_output()
    if os.environ.get("DVC_ROOT"):
        end_with(os.getppid())
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        fail(error)
    except BrokenPipeError:  # the program that reads the output has ended, such as `head`
        os._exit(128 + signal.SIGPIPE)
    except OSError as error:  # a full disk or a missing permission is not a bug, so no traceback
        fail(out_of_memory(error) or error)
    except (MemoryError, RuntimeError) as error:
        if line := out_of_memory(error):
            fail(line)
        raise
    except KeyboardInterrupt as error:
        say(error.args[0] if error.args else f"stopped by {stopped_by.name}")
        drop_output()
        sys.exit(128 + stopped_by)
    if os.environ.get("DVC_ROOT"):
        # All is written. Python would take PyTorch apart before it ends, which takes half a second for each stage.
        os._exit(0)
    sys.exit(0)


def fail(error: Exception) -> NoReturn:
    drop_output()
    sys.exit(f"error: {error}" if is_first_to_fail() else 1)


def open_output() -> None:
    """Write every line at once, so that a log is up to date. Where an output is closed (`>&-`), write to nowhere.

    Under DVC, an output that nobody reads any more or that is on a full disk does not end the stage: its results count.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if os.environ.get("DVC_ROOT"):
        for stream in (sys.stdout, sys.stderr):
            for method in ("write", "flush"):
                setattr(stream, method, partial(_or_nowhere, getattr(stream, method), stream.fileno()))


def _or_nowhere(write: Callable[..., object], file: int, *text: str) -> object:
    """Call a method of an output. From the first failure on, the output leads to nowhere."""
    try:
        return write(*text)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file)
        return write(*text)


def drop_output() -> None:
    """Drop what cannot be written to stdout, as on a full disk. Python would try again at its end, and complain."""
    with suppress(OSError):
        _or_nowhere(sys.stdout.flush, sys.stdout.fileno())


def end_with(parent: int) -> None:
    """End this process soon after the process `parent`, which started it, has ended.

    When DVC has ended, nobody records the outputs. The next run must not meet a stage that is still writing.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_first_to_fail() -> bool:
    """Whether no other process that the same torchrun started on this machine has failed within the last minute."""
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not report:
        return True
    failed = Path(report).parents[1] / f"failed-{os.getppid()}"  # beside the folders of the processes
    try:
        failed.touch(exist_ok=False)
    except FileExistsError:
        return time.time() - failed.stat().st_mtime > 60  # left by an earlier command of the same script
    except OSError:
        pass
    return True
