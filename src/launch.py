"""A stage in several processes, a device each: started by torchrun, ended together, with one message."""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from src import cli, distributed
from src.errors import InputError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

GO_ON = "the same command goes on from the state that was kept"


def on_each_device(devices: int, work: Callable[[], None]) -> None:
    """Call `work` here, or, with several devices, in as many processes that run this stage's command again.

    Raises:
        InputError: one of the processes failed or was killed; then all are ended.
    """
    if devices == 1:
        work()
    elif dist.is_torchelastic_launched():
        _take_part(work)
    else:
        _start(devices)


def _take_part(work: Callable[[], None]) -> None:
    """Do this process's share. What goes wrong is left for the process that started it, which says it once."""
    cli.end_with(int(os.environ.get("TORCHELASTIC_RUN_ID", "0")))
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        work()
        distributed.leave()
    except BaseException as error:
        get_error_handler().record_exception(InputError(error) if isinstance(error, OSError) else error)
        os._exit(1)  # without waiting for a sum that the others may never add to


def _start(devices: int) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # torchrun's own reports of what is told below
    stage = sys.modules["__main__"].__spec__
    if stage is None:
        raise InputError("with runtime.devices above 1 a stage is run as `python -m stages.NAME`, as dvc.yaml does")
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
            # The first process speaks for all; what the others say would repeat it.
            logs_specs=DefaultLogsSpecs(folder, redirects=dict.fromkeys(range(1, devices), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", stage.name, *sys.argv[1:])
        except SignalException as error:
            print(_last_words(Path(folder)) or f"stopped by {error.sigval.name}; {GO_ON}", file=sys.stderr)
            sys.exit(128 + error.sigval)
        except ChildFailedError as error:
            raise _reason(error.failures, devices) from None


def _last_words(folder: Path) -> str:
    """What the first process had to say when it was stopped by a signal."""
    for report in folder.rglob("0/error.json"):
        kind, text, _ = _parsed(json.loads(report.read_text(encoding="utf-8")))
        if kind == "KeyboardInterrupt":
            return text
    return ""


def _reason(failures: "dict[int, ProcessFailure]", devices: int) -> Exception:
    """Why the run ended: what a process says itself, or else a signal that ended one, or else an error in the code.

    The other processes' failures follow from that one: a sum that cannot be completed, or the order to stop.
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
    """The type, the message and the traceback of the exception that ended a process; empty when it left none."""
    message = report.get("message")
    if not isinstance(message, dict):
        return "", "", ""
    kind, _, text = message["message"].partition(": ")
    return kind, text, message["extraInfo"]["py_callstack"]
