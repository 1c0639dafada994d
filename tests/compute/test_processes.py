"""Several processes (Gloo) divide the work, say one thing when they end, and go on after any end."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import psutil
import pytest
import torch

from src.base.errors import InputError
from src.compute import processes
from src.images import dataset
from tests.conftest import coloured_squares
from tests.defaults import DEFAULTS
from tests.project import works_in

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 257])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_parts_are_the_whole_in_order(monkeypatch: pytest.MonkeyPatch, count: int, size: int) -> None:
    monkeypatch.setattr(processes, "size", lambda: size)
    parts: list[list[int]] = []
    for rank in range(size):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts.append(list(range(count))[processes.part(count)])
    assert [row for part in parts for row in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


class Stage:
    """`train_vgg11` on two devices, in a folder of its own, without DVC."""

    def __init__(self, folder: Path, **changes: str) -> None:
        self.folder = folder
        folder.mkdir()
        settings = {
            "device": "cpu",
            "precision": "fp32",
            "devices": "2",
            "init": "kaiming",
            "batch_size": "20",
            "epochs": "3",
        }
        lines = []
        for line in DEFAULTS.splitlines():
            key = line.split(":")[0].strip()
            value = (settings | changes).get(key)
            lines.append(line.split(":")[0] + f": {value}" if value else line)
        (folder / "params.yaml").write_text("\n".join(lines), encoding="utf-8")
        for name in ("train", "validation"):
            dataset.save(folder / name, coloured_squares(40))

    def start(self, *launcher: str, **variables: str) -> subprocess.Popen[str]:
        flags = ["--train=train", "--validation=validation", "--model=model", "--results=results"]
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "stages.train_vgg11", *flags],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """Exit code, and what was said on stderr other than the lines of the epochs; no process is left."""
        _, output = process.communicate(timeout=120)
        deadline = time.monotonic() + 20
        while self.processes():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return process.returncode, [line for line in output.splitlines() if "train_vgg11 epoch " not in line]

    def processes(self) -> list[psutil.Process]:
        """The processes at work in this folder."""
        return [process for process in psutil.process_iter() if works_in(process, self.folder)]

    def stop_after(self, epoch: int) -> None:
        """Train, and stop after an epoch. The state is kept."""
        process = self.start()
        wait_for(process, f" epoch {epoch}/3")
        process.send_signal(signal.SIGINT)
        code, said = self.ended(process)
        assert code == 130
        assert len(said) == 1
        assert re.fullmatch(
            rf"train_vgg11: stopped; kept: {epoch} epochs?( and \d step)? [(]of 3 epochs[)]; "
            "give the same command again to continue",
            said[0],
        )
        assert self.states()

    def states(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.glob(".checkpoints/*/state.pt")}

    def files(self) -> dict[str, bytes]:
        paths = [self.folder / "model", *(self.folder / "results").rglob("*")]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths if path.is_file()}


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Wait until a process has said something on stderr."""
    assert process.stderr
    line = process.stderr.readline()
    while text not in line:
        assert line, f"ended before {text}"
        line = process.stderr.readline()


@pytest.mark.slow
def test_whatever_ends_one_process_ends_all_and_the_run_goes_on(tmp_path: Path) -> None:
    whole = Stage(tmp_path / "whole")
    assert whole.ended(whole.start()) == (0, [])

    stage = Stage(tmp_path / "stopped")
    stage.stop_after(1)

    process = stage.start()
    wait_for(process, " epoch 2/3")
    worker = max(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    worker.kill()
    code, said = stage.ended(process)
    assert code == 1
    hint = "give the same command again to continue from the saved state"
    assert said == [f"error: process 2 of 2 was ended by SIGKILL; {hint}"]

    process = stage.start()
    time.sleep(1)
    while len(stage.processes()) < 3:  # the one that starts, and two that train
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    stage.ended(process)  # the others notice, and end by themselves

    assert stage.ended(stage.start()) == (0, [])
    assert stage.files() == whole.files()
    assert not list(stage.folder.glob(".checkpoints/*"))
    curve = stage.files()["results/plots/metrics/train/loss.tsv"].decode().splitlines()
    assert [row.split("\t")[0] for row in curve] == ["step", "1", "2", "3"]


def torchrun(*machines: Stage, processes: int = 1) -> list[tuple[int, str]]:
    """Exit code and stderr of a torchrun in each of the folders, which together train one network."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    nodes = [f"--nnodes={len(machines)}", f"--nproc-per-node={processes}", "--local-addr=localhost"]
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}"]
    started = [machine.start("-m", "torch.distributed.run", *nodes, *meeting) for machine in machines]
    return [(process.wait(), errors) for process in started for _, errors in [process.communicate(timeout=120)]]


def errors_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


@pytest.mark.slow
def test_two_machines_train_what_one_machine_trains(tmp_path: Path) -> None:
    one = Stage(tmp_path / "one", threads="1")
    assert one.ended(one.start(TORCHELASTIC_RUN_ID="none")) == (0, [])  # left over from somebody's torchrun
    two = Stage(tmp_path / "two", threads="1")  # both machines see this folder
    (first, said), (second, also_said) = torchrun(two, two)
    assert (first, second) == (0, 0)
    assert (said + also_said).count("train_vgg11 epoch 1/3") == 1
    assert two.files() == one.files()


@pytest.mark.parametrize(
    ("processes", "devices"),
    [(1, "2"), pytest.param(2, "3", marks=pytest.mark.slow), pytest.param(2, "1", marks=pytest.mark.slow)],
)
def test_another_number_of_processes_than_devices_is_said_once(tmp_path: Path, processes: int, devices: str) -> None:
    stage = Stage(tmp_path / "stage", devices=devices)
    [(code, said)] = torchrun(stage, processes=processes)
    assert code == 1
    assert errors_in(said) == [
        f"error: params.yaml: runtime.devices: {devices}: torchrun started {processes}; make them equal"
    ]
    assert not stage.files()


@pytest.mark.slow
def test_an_error_of_all_is_said_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "exploding", lr="1.0e+30")
    code, said = stage.ended(stage.start())
    assert code == 1
    assert len(said) == 1
    assert said[0].startswith("error: epoch 1, step 2: the loss is ")
    [(code, text)] = torchrun(stage, processes=2)
    assert code == 1
    assert errors_in(text) == said


@pytest.mark.slow
def test_machines_that_do_not_share_the_state_are_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "stage", threads="1")
    stage.stop_after(1)
    state = stage.states()
    other = Stage(tmp_path / "other", threads="1")
    for (code, text), machine in zip(torchrun(stage, other), (stage, other), strict=True):
        assert code == 1
        assert all("must share this folder" in line and ".checkpoints/train_vgg11-" in line for line in errors_in(text))
        assert "model" not in machine.files()
    assert errors_in(text)
    assert stage.states() == state


class Store:
    """What two processes tell each other before they connect. The other one computes on a CPU."""

    def set(self, key: str, value: str) -> None:
        self.key, self.value = key, value.encode()

    def get(self, key: str) -> bytes:
        return self.value if key == self.key else b"cpu"


def test_processes_that_cannot_be_connected_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        monkeypatch.setattr(processes, "rendezvous", lambda _url: iter([(Store(), 0, 2)]))
        with pytest.raises(InputError, match="some of the processes have a GPU, and some have none"):
            processes.join(torch.device("cuda", 0))
        fail = mock.Mock(side_effect=RuntimeError("no route\nat …"))
        monkeypatch.setattr(torch.distributed, "init_process_group", fail)
        with pytest.raises(InputError, match=r"cannot be connected with each other \(no route\)"):
            processes.join(torch.device("cpu"))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_state_that_is_replaced_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    others = iter(["waits", "old", "waits", "new"])
    monkeypatch.setattr(processes, "gather", lambda value: [value, next(others)])
    states = iter(["new", "new", "newer", "newer", "newer", "newer"])
    assert processes.read_alike(lambda: next(states), mark=str, error="not shared") == "new"
    others = iter(["waits", "none"] * 3)
    with pytest.raises(InputError, match="not shared"):
        processes.read_alike(lambda: next(states), mark=str, error="not shared")


@pytest.mark.parametrize(
    "case", ["process 0", *(pytest.param(case, marks=pytest.mark.slow) for case in ("before joining", "process 1"))]
)
def test_a_process_that_waits_in_a_sum_ends_soon_after_the_other(tmp_path: Path, case: str) -> None:
    command = [sys.executable, "-m", "tests.compute.endings", case, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert time.time() - float((tmp_path / "ended").read_text(encoding="utf-8")) < 8
    assert (result.returncode, result.stderr) == (1, "error: no such file\n")


@pytest.mark.slow
def test_the_others_take_part_until_the_first_process_has_saved_its_state(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.compute.endings", "stopped", str(tmp_path)], cwd=ROOT)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert time.time() - float((tmp_path / "ended").read_text(encoding="utf-8")) < 8
    assert (tmp_path / "saved").exists()
