"""Presets as arguments of an experiment; tests/test_pipeline.py runs one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import experiment
from scripts.experiment import environment, table
from scripts.parameters import parameters, plain
from src.base.errors import InputError


def test_scores_as_a_table(tmp_path: Path) -> None:
    for name, more in (("vgg11", ', "val_accuracy": 1'), ("vgg16", ""), ("fusion", "")):
        (tmp_path / f"{name}.json").write_text(f'{{"accuracy": 0.5, "loss": 1.23456{more}}}', encoding="utf-8")
    assert table(tmp_path).splitlines() == [
        "| test | accuracy | loss | val_accuracy |",
        "| --- | ---: | ---: | ---: |",
        "| vgg11 | 0.5000 | 1.2346 | 1.0000 |",
        "| vgg16 | 0.5000 | 1.2346 | - |",
        "| fusion | 0.5000 | 1.2346 | - |",
    ]


RUN_DVC = """
import sys
from scripts import experiment
from src.base import cli
sys.executable = sys.argv[1]
cli.run(lambda: experiment.dvc("exp", "run", output=[] if sys.argv[2] == "True" else None))
"""
SLOW_TO_END = """#!/bin/sh
trap 'sleep 1; echo tidied; exit 1' INT
echo started
while :; do sleep 0.1; done
"""


DEAF = """#!/bin/sh
trap '' INT
echo started
exec sleep 60
"""


def run_as_dvc(folder: Path, program: str, captured: bool) -> subprocess.Popen[str]:
    """`experiment.dvc` in a group of processes of its own, where DVC is a shell script that has just begun.

    Args:
        captured: whether the caller wants its output.
    """
    path = folder / "dvc"
    path.write_text(program, encoding="utf-8")
    path.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_DVC, str(path), str(captured)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("captured", [False, True])
def test_dvc_has_time_to_end_at_ctrl_c(tmp_path: Path, captured: bool) -> None:
    """Until it is done, DVC may hold what it has put aside of the workspace."""
    with run_as_dvc(tmp_path, SLOW_TO_END, captured) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "tidied\n", "stopped by SIGINT\n")


@pytest.mark.parametrize("captured", [False, True])
def test_ctrl_c_again_does_not_wait(tmp_path: Path, captured: bool) -> None:
    started = time.monotonic()
    with run_as_dvc(tmp_path, DEAF, captured) as process:
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.2)
        assert process.communicate()[1] == "stopped by SIGINT\n"
    # Where Python was already ending, Ctrl-C kills it. A shell says 130 then, too.
    assert process.returncode in (130, -signal.SIGINT)
    assert time.monotonic() - started < 30  # DVC would take 60


def test_output_is_shown_as_it_comes_and_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the order in which it was printed, whatever the encoding; a progress bar's carriage return ends a line."""
    program = tmp_path / "dvc"
    lines = "for n in 1 2; do echo out $n; echo err $n >&2; done; printf '50%%\\r\\377\\n'; exit 3"
    program.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program))
    output: list[str] = []
    with pytest.raises(InputError, match=r"^dvc exp run failed$"):
        experiment.dvc("exp", "run", output=output)
    assert output == ["out 1\n", "err 1\n", "out 2\n", "err 2\n", "50%\n", "\N{REPLACEMENT CHARACTER}\n"]
    assert capfd.readouterr() == ("".join(output), "")


def test_values_are_compared_as_numbers() -> None:
    assert plain("1e-05") == plain(0.00001) == plain("0.00001")
    assert plain("8") == plain(8.0)
    assert plain(True) == plain("true")
    assert plain("none") == "none"
    assert parameters(b"a: {b: 1e-16, c: x}\nd: 1") == {"a.b": 1e-16, "a.c": "x", "d": 1.0}


@pytest.mark.parametrize("text", [b"a: [", b"- a", b"a"])
def test_parameters_that_are_none(text: bytes) -> None:
    with pytest.raises(InputError, match=r"^params\.yaml: not valid"):
        parameters(text)


def test_paths_of_the_user_count_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR10_URL and train_vgg11.start: stages take them from the folder that DVC_ROOT names."""
    monkeypatch.chdir(tmp_path)
    assert environment(tmp_path / "copy")["DVC_ROOT"] == str(tmp_path)


def test_dvc_gets_the_name_of_a_user_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `docker run --user 1234`, where no name belongs to the id."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for error in (KeyError("getpwuid(): uid not found: 1234"), OSError("No username set in the environment")):

        def getuser(error: Exception = error) -> str:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("getpass.getuser", getuser)
            assert environment(tmp_path)["USER"] == str(os.getuid())
    monkeypatch.setenv("LOGNAME", "somebody")
    assert "USER" not in environment(tmp_path)


@pytest.mark.parametrize("name", ["a b", "a/b", "[x]", "a..b", "a~1", "x.lock", "@{x", ".x"])
def test_names_that_git_does_not_allow(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    Path(".dvc").mkdir()
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    with pytest.raises(InputError, match="git does not allow this name for an experiment; rename the preset"):
        experiment.run_experiment(name, [])
    assert list(Path(".dvc").iterdir()) == []
