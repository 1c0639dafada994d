"""Whatever ends an experiment, nothing stays that the next one does not clear; and what belongs to the user stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc.config import Config

from scripts import experiment
from scripts.workspace import COPIES, copy_of_project
from src.base.errors import InputError
from tests.project import ROOT
from tests.scripts.tiny_project import git, make

STAGE = """
import os, sys, time
sys.path.insert(0, {root!r})
from src.base.cli import end_with
end_with(os.getppid())
open(".checkpoints/stage", "w").write(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a stage that takes a minute, and writes its process id among the states of training."""
    project = make(tmp_path / "project")
    monkeypatch.chdir(project)
    (project / "slow.py").write_text(STAGE.format(root=str(ROOT)), encoding="utf-8")
    (project / "dvc.yaml").write_text("stages:\n  one:\n    cmd: exec python slow.py\n", encoding="utf-8")
    git("add", "-A")
    git("commit", "-q", "-m", "slow")
    (project / "preset").write_text("seed=1\n", encoding="utf-8")
    return project


def start() -> subprocess.Popen[str]:
    """Start an experiment and wait until its stage runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.experiment", "preset", "demo"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (Path(".checkpoints", "stage").exists() and Path(".checkpoints", "stage").read_text(encoding="utf-8")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def wait_for_the_end_of_the_stage() -> None:
    number, deadline = int(Path(".checkpoints", "stage").read_text(encoding="utf-8")), time.monotonic() + 20
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT, signal.SIGKILL]
)
def test_a_stopped_experiment(number: signal.Signals, project: Path) -> None:
    """DVC and its stage end with it, and the next experiment removes what it could not remove itself."""
    with start() as process:
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        error = process.communicate(timeout=30)[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert number == signal.SIGKILL or error.splitlines()[-1] == f"stopped by {number.name}"
    wait_for_the_end_of_the_stage()
    if number == signal.SIGKILL:
        assert list(COPIES.iterdir())
    with copy_of_project():
        assert len(list(COPIES.iterdir())) == 2  # a copy and its lock
    assert list(COPIES.iterdir()) == []
    assert Path(".checkpoints", "stage").exists()
    assert git("for-each-ref", "--format=%(refname)") == "refs/heads/main\n"
    assert git("status", "--porcelain") == "?? preset\n"
    assert not Path("demo").exists()


def test_an_experiment_that_fails(project: Path) -> None:
    Path("slow.py").write_text("raise SystemExit(1)", encoding="utf-8")
    head = git("rev-parse", "HEAD").strip()
    reference = f"refs/exps/{head[:2]}/{head[2:]}/tiny"
    git("update-ref", reference, "HEAD")
    with pytest.raises(InputError, match=r"^dvc exp run failed$"):
        experiment.run_experiment("tiny", ["seed=1"])
    assert list(COPIES.iterdir()) == []
    assert git("rev-parse", reference).strip() == head  # the earlier one is kept


def test_a_running_experiment_is_left_alone(project: Path) -> None:
    """Two experiments can run at the same time."""
    with copy_of_project() as first, copy_of_project() as second:
        assert (first / "a.txt").exists()
        assert (second / "a.txt").exists()
    assert list(COPIES.iterdir()) == []


def test_a_file_system_without_locks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There nobody can tell whether another experiment still runs."""

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("scripts.workspace.FileLock.acquire", refuse)
    with copy_of_project() as first, copy_of_project():
        assert (first / "a.txt").exists()
    assert list(COPIES.iterdir()) == []


def test_an_experiment_takes_the_place_of_one_of_its_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = git("rev-parse", "HEAD").strip()
    reference = f"refs/exps/{head[:2]}/{head[2:]}/name"
    kept = head

    def dvc(*arguments: str, folder: Path, output: list[str] | None) -> None:
        assert arguments == ("exp", "run", "--name", "name", "--set-param=seed=1", "--set-param=init=none")
        git("update-ref", reference, kept, folder=folder)

    monkeypatch.setattr(experiment, "dvc", dvc)
    for kept in (head, git("rev-parse", "HEAD^").strip()):
        assert experiment.run_experiment("name", ["seed=1", "init=none"]) == kept
        assert git("rev-parse", reference).strip() == kept
    line = f"`name` takes the place of an earlier experiment: `git branch NAME {head[:10]}` keeps that one\n"
    assert capsys.readouterr().out == line
    monkeypatch.setattr(experiment, "dvc", lambda *_arguments, **_settings: None)
    with pytest.raises(InputError, match="DVC ran the experiment `other` and did not keep it"):
        experiment.run_experiment("other", [])


def test_an_unfinished_merge(project: Path) -> None:
    git("checkout", "-q", "-b", "other", "HEAD^")
    Path("a.txt").write_text("other\n", encoding="utf-8")
    git("commit", "-q", "-a", "-m", "other")
    git("checkout", "-q", "main")
    Path("a.txt").write_text("main\n", encoding="utf-8")
    git("commit", "-q", "-a", "-m", "main")
    with pytest.raises(subprocess.CalledProcessError):
        git("merge", "-q", "other")
    with pytest.raises(InputError, match="a merge is not finished: resolve its conflicts"):
        experiment.run_experiment("tiny", [])
    assert list(COPIES.iterdir()) == []


@pytest.mark.parametrize(
    ("commands", "problem"),
    [
        ([], "no project of DVC; start in the folder that has dvc.yaml"),
        (["mkdir .dvc"], "no git commit here .*not a git repository.*; clone the project, or commit its files"),
        (["mkdir .dvc", "git init -q"], "no git commit here .*; clone the project, or commit its files"),
        (["mkdir .dvc", "git init -q --object-format=sha256", "git commit -q --allow-empty -m x"], "not SHA-1"),
    ],
)
def test_what_is_no_project(commands: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "a")
        monkeypatch.setenv(f"{name}_EMAIL", "a@b")
    for command in commands:
        subprocess.run(command.split(), check=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=problem):
        experiment.run_experiment("tiny", [])
    assert sorted(tmp_path.rglob("*")) == before


def test_the_configuration_of_dvc(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the user, of the project and of the clone; a path in the latter two counts from .dvc."""
    (tmp_path / "global").mkdir()
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    files = {
        "config": "['remote \"a\"']\n    url = ../storage\n['remote \"c\"']\n    url = https://a.b/c\n",
        "config.local": "['remote \"b\"']\n    url = /b\n['remote \"c\"']\n    password = 'x#y'\n"
        "[core]\n    remote = b\n",
    }
    for name, text in files.items():
        Path(".dvc", name).write_text(text, encoding="utf-8")
    for cache in ("", f"[cache]\n    dir = {tmp_path}/of all projects\n    type = symlink\n"):
        (tmp_path / "global" / "config").write_text(cache, encoding="utf-8")
        ours = Config(str(project / ".dvc"), validate=False)
        with copy_of_project() as folder:
            theirs = Config(str(folder / ".dvc"), validate=False)
        assert Path(theirs["remote"]["a"]["url"]) == project / "storage"
        assert theirs["remote"] == ours["remote"]
        assert theirs["core"] == ours["core"]
        assert theirs["cache"] == ours["cache"] | ({} if cache else {"dir": str(project / ".dvc" / "cache")})


def test_a_configuration_that_dvc_does_not_understand(project: Path) -> None:
    Path(".dvc", "config.local").write_text("[core]\n    wrong = 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^\.dvc/config: config file error: extra keys not allowed"):
        experiment.run_experiment("tiny", [])
    assert list(COPIES.iterdir()) == []
