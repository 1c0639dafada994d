"""How a stage ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.base.files import write_text

STAGE = """
import sys, time
from src.base import cli
from src.base.errors import InputError
def main():
    {}
cli.run(main)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STAGE.format(body)], capture_output=True, text=True, timeout=60, check=False
    )


def run_in_shell(
    body: str, redirection: str, before: str = "", folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The same within a shell's words, with Python's own buffers, which PYTHONUNBUFFERED switches off."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | variables
    command = ["sh", "-c", f'{before}"$0" -c "$1" {redirection}', sys.executable, STAGE.format(body)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_success() -> None:
    result = run("print('done')")
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_a_stage_of_dvc_ends_at_once_and_loses_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", "/")
    result = run("import atexit; atexit.register(time.sleep, 60); print('x' * 100_000)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "x" * 100_000 + "\n", "")


@pytest.mark.parametrize(
    "redirection", [">/dev/full", ">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>&1", "| true", "2>&1 | true"]
)
def test_a_stage_of_dvc_whose_output_cannot_be_written_goes_on(redirection: str, tmp_path: Path) -> None:
    """Else DVC would throw its results away."""
    say = "from src.base.messages import say; time.sleep(0.1); say('1'); print('2'); print('3', flush=True)"
    body = f"{say}; from pathlib import Path; Path('done').touch(); {say}; sys.stdout.write('4')"
    path = str(Path.cwd())
    run_in_shell(body, f"; echo $? >code; }} {redirection}", "{ ", tmp_path, DVC_ROOT="/", PYTHONPATH=path)
    assert (tmp_path / "done").exists()
    assert (tmp_path / "code").read_text() == "0\n"


@pytest.mark.parametrize("body", ["print('x')", "sys.stdout.write('x')", "print('x', flush=True)"])
def test_output_that_cannot_be_written_is_one_line(body: str) -> None:
    result = run_in_shell(body, ">/dev/full")
    assert (result.returncode, result.stderr) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("body", ["print('x')", "sys.stdout.write('x')"])
def test_a_reader_that_has_ended_ends_a_script_silently(body: str) -> None:
    result = run_in_shell(f"time.sleep(0.1); {body}", "; echo $? >&2; } | true", "{ ")
    assert result.stderr == f"{128 + signal.SIGPIPE}\n"


@pytest.mark.parametrize(
    ("end", "code"), [("raise InputError('wrong')", 1), ("raise KeyboardInterrupt('stopped')", 130)]
)
def test_output_that_cannot_be_written_hides_no_other_end(end: str, code: int) -> None:
    result = run_in_shell(f"sys.stdout.write('x'); {end}", ">/dev/full")
    assert (result.returncode, len(result.stderr.splitlines())) == (code, 1)


def test_output_is_written_line_by_line() -> None:
    """So that a log shows what a stage does while it does it."""
    assert run_in_shell("print('x'); import os; os._exit(3)", "| cat").stdout == "x\n"


def test_wrong_input_is_one_line() -> None:
    result = run("raise InputError('a: b: wrong')")
    assert (result.returncode, result.stderr) == (1, "error: a: b: wrong\n")


def test_a_full_disk_is_one_line() -> None:
    result = run("raise OSError(28, 'No space left on device', 'models/x')")
    assert (result.returncode, result.stderr) == (1, "error: [Errno 28] No space left on device: 'models/x'\n")


def test_a_fault_of_the_code_keeps_its_traceback() -> None:
    result = run("raise ZeroDivisionError")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_one_line(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE.format("print('ready', flush=True); time.sleep(60)")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (128 + number, f"stopped by {number.name}\n")


def test_ctrl_c_while_packages_are_loaded_is_no_crash(tmp_path: Path) -> None:
    write_text(tmp_path / "torch.py", "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    command = [sys.executable, "-m", "stages.train_vgg11"]
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == -signal.SIGINT
    assert result.stderr == ""
