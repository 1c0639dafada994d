"""A training stage that is stopped at random moments, in every way, and begun again until it is through.

    python -m tests.torture --stops 100

The model, the metrics and the curves must equal those of an undisturbed run, byte for byte. The data are CIFAR-10 where
CIFAR10_URL names it, else the built-in digits; `test_torture.py` runs a short form.
"""

import argparse
import functools
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.project import Project, works_in

STAGE = "train_vgg11"
FULL_DISK = "full disk"
WHILE_WRITING = "SIGKILL to all while the state is written"
WAYS = (
    "SIGINT to all",  # as Ctrl-C at a terminal
    "SIGTERM to the stage",
    "SIGKILL to the stage",
    "SIGKILL to DVC",
    "SIGKILL to all",
    WHILE_WRITING,
    FULL_DISK,
)
# What draws random numbers, and what remembers the past, takes part: augmentation, dropout, Adam, a falling rate.
SETTINGS = """
image.resize=[36,40] image.crop=32 augment.random_crop=true augment.flip=true augment.colour_shift=true
init=kaiming batch_size=64 schedule.name=plateau schedule.patience=0
"""
CIFAR10 = "preprocess.validation=200 preprocess.fraction=0.005 train_vgg11.epochs=4"  # 249 images
DIGITS = "dataset.name=digits preprocess.validation=50 preprocess.fraction=0.07 train_vgg11.epochs=3"  # 101 images


@dataclass
class Stop:
    """How a run was stopped, and what came of it.

    Attributes:
        output: what DVC and the stage printed.
        epochs: the epochs that it did.
        through: whether the stage had ended before.
    """

    way: str
    output: str
    epochs: int
    through: bool


@dataclass
class Torture:
    """A project whose stage is tortured.

    Attributes:
        longest: seconds that a run is left alone at most.
        random: decides the moments, and what is stopped.
        stops: all so far.
        rounds: how often the stage came through, each time with the bytes of the undisturbed run.
    """

    project: Project
    longest: float
    random: random.Random
    stops: list[Stop] = field(default_factory=list)
    rounds: int = 0

    def __post_init__(self) -> None:
        self.expected = self.bytes()

    def bytes(self) -> dict[str, bytes]:
        """dvc.lock, which has the digests of all outputs, the model, and every file of results/."""
        paths = (Path("dvc.lock"), Path("models", "vgg11.safetensors"))
        return self.project.results() | {str(path): (self.project.folder / path).read_bytes() for path in paths}

    def start(self, room: int | None = None) -> subprocess.Popen[str]:
        """Begin the stage anew, or go on with it; `room`: bytes after which a file can grow no more."""
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room)) if room else None
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", STAGE],
            cwd=self.project.folder,
            env=self.project.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=limit,
        )

    def stop(self, way: str) -> Stop:
        """Start the stage and stop it that way, at a random moment."""
        room = self.random.randrange(1_000_000, 300_000_000) if way == FULL_DISK else None
        process = self.start(room)
        if way == WHILE_WRITING:
            while process.poll() is None and not list(self.project.folder.glob(".checkpoints/*/.state.pt.*.tmp")):
                time.sleep(0.001)
        elif way != FULL_DISK:
            until = time.monotonic() + self.random.uniform(0, self.longest)
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
        if way != FULL_DISK:
            self.send(process, way)
        output, _ = process.communicate(timeout=300)
        wait_for_the_end_of(self.project.folder)
        stop = Stop(way, output, output.count(f"{STAGE} epoch "), through=process.returncode == 0)
        self.stops.append(stop)
        self.check(stop)
        return stop

    def send(self, process: subprocess.Popen[str], way: str) -> None:
        number = signal.Signals[way.split()[0]]
        if "to all" in way:
            if process.poll() is None:
                os.killpg(process.pid, number)
        elif way.endswith("DVC"):
            process.send_signal(number)
        else:
            for stage in psutil.process_iter():
                if process_runs_stage(stage, self.project.folder):
                    stage.send_signal(number)

    def check(self, stop: Stop) -> None:
        """A stop is no crash, and a stage that came through has the right bytes."""
        assert "Traceback" not in stop.output, stop.output
        if stop.way == FULL_DISK and stop.epochs == 0 and not stop.through:
            assert "is the disk full?" in stop.output, stop.output
        if stop.through:
            self.compare()

    def finish(self) -> None:
        """Leave the stage alone until it is through."""
        process = self.start()
        output, _ = process.communicate()
        assert process.returncode == 0, output
        self.compare()

    def compare(self) -> None:
        actual = self.bytes()
        different = [name for name in self.expected | actual if self.expected.get(name) != actual.get(name)]
        assert not different, f"after {len(self.stops)} stops these differ: {different}"
        assert not list(self.project.folder.glob(f".checkpoints/{STAGE}-*"))
        self.rounds += 1


def process_runs_stage(process: psutil.Process, folder: Path) -> bool:
    try:
        return works_in(process, folder) and f"stages.{STAGE}" in process.cmdline()
    except psutil.Error:
        return False


def wait_for_the_end_of(folder: Path) -> None:
    """Until no process of the stage is left: one whose DVC was killed ends by itself."""
    deadline = time.monotonic() + 60
    while any(process_runs_stage(process, folder) for process in psutil.process_iter()):
        assert time.monotonic() < deadline, "a stage outlives DVC"
        time.sleep(0.05)


def prepare(folder: Path, *, longest: float, seed: int = 0, cifar10: bool = False) -> Torture:
    """A project in `folder`, committed after an undisturbed run of the stage."""
    project = Project(folder)
    # Every two seconds instead of every minute: the whole run takes seconds.
    loop = project.folder / "src" / "training" / "loop.py"
    code, changes = re.subn(r"(?m)^(SAVE_EVERY|SAVE_SHARE) = \S+", r"\1 = 2.0", loop.read_text(encoding="utf-8"))
    assert changes == 2
    loop.write_text(code, encoding="utf-8")
    project.commit("states more often")
    if cifar10:
        project.environment["CIFAR10_URL"] = str(Path(os.environ["CIFAR10_URL"]).absolute())
    settings = [f"--set-param={setting}" for setting in (SETTINGS + (CIFAR10 if cifar10 else DIGITS)).split()]
    project.dvc("exp", "run", STAGE, *settings)
    project.commit("undisturbed")
    return Torture(project, longest, random.Random(seed))  # noqa: S311 - no secret


def table(stops: list[Stop]) -> str:
    """How often each way was used, and how far the stopped runs had come."""
    by_way = defaultdict(list)
    for stop in stops:
        by_way[stop.way].append(stop)
    rows = ["| stopped by | attempts | before the first epoch ended | later | too late: the stage was through |"]
    rows += ["|---|---:|---:|---:|---:|"]
    for way in WAYS:
        through = sum(stop.through for stop in by_way[way])
        early = sum(stop.epochs == 0 and not stop.through for stop in by_way[way])
        count = len(by_way[way])
        rows.append(f"| {way} | {count} | {early} | {count - early - through} | {through} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=100, help="how many; those that come too late do not count")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    cifar10 = "CIFAR10_URL" in os.environ
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        torture = prepare(Path(folder, "project"), longest=0, seed=arguments.seed, cifar10=cifar10)
        undisturbed = time.monotonic()
        torture.finish()
        torture.longest = time.monotonic() - undisturbed
        print(f"{'CIFAR-10' if cifar10 else 'digits'}; an undisturbed run takes {torture.longest:.0f} s")
        done = 0
        while done < arguments.stops:
            stop = torture.stop(WAYS[done % len(WAYS)])
            done += not stop.through
            print(f"{done:4} {stop.way}, {stop.epochs} epochs done{', through' * stop.through}", flush=True)
        torture.finish()
    minutes = (time.monotonic() - started) / 60
    print(f"\n{table(torture.stops)}\n")
    print(f"{done} stops in {minutes:.0f} minutes; {torture.rounds} times through, every time with the same bytes.")


if __name__ == "__main__":
    main()
