"""Two processes (Gloo) train what one trains, say one thing when they end, and go on after any end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from torch import Tensor

from src.compute import processes
from src.images import dataset
from tests.conftest import coloured_squares
from tests.defaults import DEFAULTS
from tests.project import works_in

ROOT = Path(__file__).parents[2]


def ranks(devices: int, folder: Path) -> tuple[Any, dict[str, Tensor]]:
    """What tests/compute/ranks.py measures, and the gradients of its first step."""
    command = [sys.executable, "-m", "tests.compute.ranks", str(devices), str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    result = json.loads((folder / f"{devices}.json").read_text(encoding="utf-8"))
    return result, load_file(folder / f"{devices}.safetensors")


def test_two_processes_follow_one(tmp_path: Path) -> None:
    """VGG11, kaiming, fp32, augmentation, uneven batches, one of them of a single image."""
    (one, gradients), (two, others) = ranks(1, tmp_path), ranks(2, tmp_path)
    assert len(gradients) == 2 * 11
    for name, gradient in gradients.items():
        assert gradient.norm() > 1e-4, name
        assert (others[name] - gradient).norm() < 1e-5 * gradient.norm(), name
    assert len(one["losses"]) == 8
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["parts"] == [12, 14]  # images of two epochs: each image is seen by one of the two
    assert len(set(two["weights"])) == 1
    assert two["validation"] == pytest.approx(one["validation"], rel=1e-5)
    for logits, expected in zip(two["logits"], one["logits"], strict=True):
        assert logits == pytest.approx(expected, rel=1e-3, abs=1e-5)


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

    def start(self) -> subprocess.Popen[str]:
        flags = ["--train=train", "--validation=validation", "--model=model", "--results=results"]
        return subprocess.Popen(
            [sys.executable, "-m", "stages.train_vgg11", *flags],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
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

    def wait_for_a_state(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 120
        while not list(self.folder.glob(".checkpoints/*/state.pt")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def files(self) -> dict[str, bytes]:
        paths = [self.folder / "model", *(self.folder / "results").rglob("*")]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths if path.is_file()}


def test_whatever_ends_one_process_ends_all_and_the_run_goes_on(tmp_path: Path) -> None:
    whole = Stage(tmp_path / "whole")
    assert whole.ended(whole.start()) == (0, [])

    stage = Stage(tmp_path / "stopped")
    process = stage.start()
    stage.wait_for_a_state(process)
    worker = max(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    worker.kill()
    code, said = stage.ended(process)
    assert code == 1
    assert said == ["error: process 2 of 2 was ended by SIGKILL; the same command goes on from the state that was kept"]

    process = stage.start()
    time.sleep(1)
    while len(stage.processes()) < 3:  # the one that starts, and two that train
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    stage.ended(process)  # the others notice, and end by themselves

    process = stage.start()
    assert process.stderr
    line = process.stderr.readline()
    while " epoch 2/3" not in line:
        assert line, "ended before its second epoch"
        line = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, said = stage.ended(process)
    assert code == 130
    assert said == ["train_vgg11: stopped; kept: 2 epochs (of 3 epochs); the same command goes on from there"]

    assert stage.ended(stage.start()) == (0, [])
    assert stage.files() == whole.files()
    assert not list(stage.folder.glob(".checkpoints/*"))
    curve = stage.files()["results/plots/metrics/train/loss.tsv"].decode().splitlines()
    assert [row.split("\t")[0] for row in curve] == ["step", "1", "2", "3"]


def test_an_error_of_all_is_said_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "exploding", lr="1.0e+30")
    code, said = stage.ended(stage.start())
    assert code == 1
    assert len(said) == 1
    assert said[0].startswith("error: epoch 1, step 2: the loss is ")
