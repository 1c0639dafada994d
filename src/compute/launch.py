"""A stage in several processes, one per device: started by torchrun, ended together, with one message.

On one machine the stage starts its processes itself. On several machines a user, or the launcher of a cluster, starts
the stage's command with torchrun on each of them, and `runtime.devices` is the number of all processes.
"""

import json
import logging
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from src.base import cli
from src.base.errors import InputError, out_of_memory
from src.base.messages import say
from src.compute import processes

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

GO_ON = "give the same command again to continue from the saved state"
SECONDS_TO_STOP = 90  # the first process finishes its step and saves its state
RUN_ID = f"{__name__}-"
"""How the run of a torchrun is called that this module started; the process id of the starter follows."""


def on_each_device(devices: int, work: Callable[[], None]) -> None:
    """Call `work` in this process or, with several devices, in new processes that run the same command, one per device.

    Under a torchrun that somebody else started, call `work` in this process, which is one of theirs.

    Raises:
        InputError: one of the processes failed or was killed. All of them have ended then.
    """
    started = int(os.environ.get("WORLD_SIZE", 0)) if dist.is_torchelastic_launched() else 0
    if started > 1 or (started and devices > 1):
        _take_part(devices, started, work)
    elif devices > 1:
        _start(devices)
    else:
        work()


def _take_part(devices: int, started: int, work: Callable[[], None]) -> None:
    """Do the work of this process, one of `started`. On failure, end it with exit code 1.

    The process that started this one reports the error. Somebody else's torchrun knows nothing of our errors: then this
    process says it.
    """
    starter = re.fullmatch(re.escape(RUN_ID) + "([0-9]+)", os.environ.get("TORCHELASTIC_RUN_ID", ""))
    cli.end_with(int(starter[1]) if starter else os.getppid())
    try:
        if started != devices:
            raise InputError(f"params.yaml: runtime.devices: {devices}: torchrun started {started}; make them equal")
        work()
        processes.leave()
    except BaseException as error:
        for number in (signal.SIGINT, signal.SIGTERM):  # from torchrun, when another process has failed
            signal.signal(number, signal.SIG_IGN)
        reason = InputError(error) if isinstance(error, OSError) else out_of_memory(error) or error
        if starter:
            from torch.distributed.elastic.multiprocessing.errors import get_error_handler

            get_error_handler().record_exception(reason)
        elif cli.is_first_to_fail():
            _say(reason)
        os._exit(1)  # do not wait for a sum to which the other processes may never add


def _say(error: BaseException) -> None:
    if isinstance(error, InputError):
        print(f"error: {error}", file=sys.__stderr__)
    elif isinstance(error, KeyboardInterrupt):
        print(str(error) or f"stopped; {GO_ON}", file=sys.__stderr__)
    elif re.search("by peer|remote process", str(error)):  # in messages of Gloo and NCCL
        print(f"error: another process of this run has ended, see what it says; {GO_ON}", file=sys.__stderr__)
    else:
        traceback.print_exception(error, file=sys.__stderr__)


def _start(devices: int) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # torchrun would report the same failures in its own words
    stage = sys.modules["__main__"].__spec__
    if stage is None:
        raise InputError("with runtime.devices above 1, run a stage as `python -m stages.NAME`, as dvc.yaml does")
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SECONDS_TO_STOP)  # read by PyTorch 2.12 and later
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch looks for GPUs here; the processes say why they do not use one
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            max_restarts=0,
            run_id=f"{RUN_ID}{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            # All processes print the same lines; only those of the first process are shown.
            logs_specs=DefaultLogsSpecs(folder, redirects=dict.fromkeys(range(1, devices), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", stage.name, *sys.argv[1:])
        except SignalException as error:
            say(_stop_message(Path(folder)) or f"stopped by {error.sigval.name}; {GO_ON}")
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

    This failure makes the other processes fail: their sums cannot be completed, or torchrun stops them.
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
