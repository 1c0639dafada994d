"""What every stage script shares: its flags, and how it ends."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from src.errors import InputError


def paths(description: str | None, *names: str) -> argparse.Namespace:
    """Parse one required flag per name (`--name PATH`), as `dvc.yaml` passes them; each becomes a `Path`."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="PATH")
    return parser.parse_args()


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage and exit: 0, or 1 with one line on stderr, or 128 + the signal that stopped it."""
    stopped_by = signal.SIGINT

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if os.environ.get("DVC_ROOT"):
        end_with(os.getppid())
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a full disk, a missing permission: no fault of the code, so no traceback
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as error:
        print(error.args[0] if error.args else f"stopped by {stopped_by.name}", file=sys.stderr)
        sys.exit(128 + stopped_by)
    sys.exit(0)


def end_with(parent: int) -> None:
    """End this process soon after the one that started it was killed.

    Nobody would take its outputs, and the next run of the stage must not find it still writing them.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
