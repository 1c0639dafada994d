"""Presets as arguments of an experiment; tests/test_pipeline.py runs one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import experiment
from scripts.experiment import environment, read_preset, table, unpack, worktree
from src.errors import InputError
from src.files import write_text


def test_settings_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "preset"
    path.write_text("# why\n\ninit=none\n  optimizer.lr=1e-3 \n", encoding="utf-8")
    assert read_preset(path) == ["init=none", "optimizer.lr=1e-3"]


@pytest.mark.parametrize("line", ["init", "init: none", "init = none", "init=none # why"])
def test_lines_that_are_no_setting(tmp_path: Path, line: str) -> None:
    path = tmp_path / "preset"
    path.write_text(f"seed=1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected key=value"):
        read_preset(path)


def test_a_missing_preset_lists_the_others() -> None:
    with pytest.raises(InputError, match=r"presets/none: no such preset; there are: presets/cpu presets/demo"):
        read_preset(Path("presets/none"))


def test_scores_as_a_table(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"vgg11": {"accuracy": 0.5, "loss": 1.23456}}', encoding="utf-8")
    assert table(tmp_path / "metrics.json").splitlines() == [
        "| test | accuracy | loss |",
        "| --- | ---: | ---: |",
        "| vgg11 | 0.5000 | 1.2346 |",
    ]


RUN_DVC = """
import sys
from scripts import experiment
from src import cli
sys.executable = sys.argv[1]
cli.run(lambda: experiment.dvc("exp", "run"))
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


def run_as_dvc(folder: Path, program: str) -> subprocess.Popen[str]:
    """`experiment.dvc` in a group of processes of its own, where DVC is a shell script that has just begun."""
    path = folder / "dvc"
    path.write_text(program, encoding="utf-8")
    path.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_DVC, str(path)],
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


def test_dvc_has_time_to_end_at_ctrl_c(tmp_path: Path) -> None:
    """Until it is done, DVC may hold what it has put aside of the workspace."""
    with run_as_dvc(tmp_path, SLOW_TO_END) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "tidied\n", "stopped by SIGINT\n")


def test_ctrl_c_again_does_not_wait(tmp_path: Path) -> None:
    started = time.monotonic()
    with run_as_dvc(tmp_path, DEAF) as process:
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.2)
        assert process.communicate()[1] == "stopped by SIGINT\n"
    assert process.returncode == 130
    assert time.monotonic() - started < 30  # DVC would take 60


@pytest.mark.parametrize("known", [(), ("user.email",), ("user.name", "user.email")])
def test_git_knows_who_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # without what git knows of whoever runs this
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    subprocess.run(["git", "init", "-q"], check=True)
    for key in known:
        subprocess.run(["git", "config", key, "me"], check=True)
    variables = environment()
    for key, stand_in in {"user.name": "nobody", "user.email": "nobody@localhost"}.items():
        output = subprocess.run(["git", "config", key], env=variables, capture_output=True, check=True).stdout.decode()
        assert output.strip() == ("me" if key in known else stand_in)


def test_a_path_of_the_data_counts_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar.tar").touch()
    for place, seen in {
        "cifar.tar": str(tmp_path / "cifar.tar"),
        "https://a.b/cifar.tar": "https://a.b/cifar.tar",
        "": "",
    }.items():
        monkeypatch.setenv("CIFAR10_URL", place)
        assert environment()["CIFAR10_URL"] == seen


def test_a_worktree_has_the_changes_and_leaves_the_states_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "dvc", lambda *_arguments, folder: None)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    write_text(tmp_path / "params.yaml", "seed: 0\n")
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "code"]):
        subprocess.run([*git, *arguments], check=True)
    write_text(tmp_path / "params.yaml", "seed: 1\n")
    left = tmp_path / ".dvc" / "tmp" / "worktree" / "of a run that was killed"
    left.mkdir(parents=True)
    with worktree() as folder:
        assert not left.exists()
        assert (folder / "params.yaml").read_text(encoding="utf-8") == "seed: 1\n"
        with pytest.raises(InputError, match="another process is still writing it"), worktree():
            pass
        (folder / ".checkpoints" / "state").touch()
    assert not folder.exists()
    assert (tmp_path / ".checkpoints" / "state").exists()


def test_results_replace_what_was_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"metrics.json": b"{}\n", "evaluate/vgg16/picture.png": bytes(range(256))}
    for name, content in files.items():
        Path("results", name).parent.mkdir(parents=True, exist_ok=True)
        Path("results", name).write_bytes(content)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "results"]):
        subprocess.run([*git, *arguments], check=True)
    folder = tmp_path / "experiments" / "demo"
    folder.mkdir(parents=True)
    (folder / "old").write_text("of an earlier run", encoding="utf-8")
    unpack("HEAD", folder)
    written = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert written == files
