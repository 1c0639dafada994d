"""A stage in several processes, one per device: started by torchrun, ended together, with one message."""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from src.base import cli
from src.base.errors import InputError
from src.compute import processes

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

GO_ON = "the same command goes on from the state that was kept"


def on_each_device(devices: int, work: Callable[[], None]) -> None:
    """Call `work` in this process or, with several devices, in one process per device that runs the same command.

    Raises:
        InputError: one of the processes failed or was killed. All of them have ended then.
    """
    if devices == 1:
        work()
    elif dist.is_torchelastic_launched():
        _take_part(work)
    else:
        _start(devices)


def _take_part(work: Callable[[], None]) -> None:
    """Do the work of this process. On failure, record the exception: the process that started this one reports it."""
    cli.end_with(int(os.environ.get("TORCHELASTIC_RUN_ID", "0")))
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        work()
        processes.leave()
    except BaseException as error:
        get_error_handler().record_exception(InputError(error) if isinstance(error, OSError) else error)
        os._exit(1)  # do not wait for a sum to which the other processes may never add


def _start(devices: int) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # torchrun would report the same failures in its own words
    stage = sys.modules["__main__"].__spec__
    if stage is None:
        raise InputError("with runtime.devices above 1, run a stage as `python -m stages.NAME`, as dvc.yaml does")
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            max_restarts=0,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            # All processes print the same lines; only those of the first process are shown.
            logs_specs=DefaultLogsSpecs(folder, redirects=dict.fromkeys(range(1, devices), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", stage.name, *sys.argv[1:])
        except SignalException as error:
            print(_stop_message(Path(folder)) or f"stopped by {error.sigval.name}; {GO_ON}", file=sys.stderr)
            sys.exit(128 + error.sigval)
        except ChildFailedError as error:
            raise _cause(error.failures, devices) from None


def _stop_message(folder: Path) -> str:
    """The message of the first process when a signal stopped it; empty when it left none."""
    for report in folder.rglob("0/error.json"):
        kind, text, _ = _parsed(json.loads(report.read_text(encoding="utf-8")))
        if kind == "KeyboardInterrupt":
            return text
    return ""


def _cause(failures: "dict[int, ProcessFailure]", devices: int) -> Exception:
    """Why the run ended: an InputError of a process, else a signal that ended one, else an error in the code.

    The failures of the other processes follow from that one: a sum that cannot be completed, or the order to stop.
    """
    reports = {rank: _parsed(failure.error_file_data) for rank, failure in sorted(failures.items())}
    for kind, text, _ in reports.values():
        if kind == "InputError":
            return InputError(text)
    for rank, failure in sorted(failures.items()):
        if failure.exitcode < 0:
            return InputError(f"process {rank + 1} of {devices} was ended by {failure.signal_name()}; {GO_ON}")
    for kind, text, _ in reports.values():
        if kind == "KeyboardInterrupt":
            return InputError(text or f"stopped; {GO_ON}")
    return RuntimeError("\n".join(f"process {rank + 1}:\n{trace}" for rank, (_, _, trace) in reports.items()))


def _parsed(report: dict[str, Any]) -> tuple[str, str, str]:
    """Type, message and traceback of the exception that ended a process; empty when it left none."""
    message = report.get("message")
    if not isinstance(message, dict):
        return "", "", ""
    kind, _, text = message["message"].partition(": ")
    return kind, text, message["extraInfo"]["py_callstack"]
