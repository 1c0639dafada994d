"""What surrounds training: the start of a stage, a `dvc repro` with nothing to do, `preprocess`, `evaluate`, memory.

The stages run as dvc.yaml has them, in a temporary folder with a params.yaml of its own.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml

from benchmarks.ways import device
from benchmarks.workers import Worker, block, median, peak_of
from src import dataset, model_file
from src.cifar10 import RECORD_BYTES, RECORDS
from src.evaluation import BATCH, CURVES
from src.files import write_text
from src.images import prepare
from src.initialization import build
from src.params import Section, load
from src.runtime import RuntimeParams, start
from src.training import TrainingParams

ROOT = Path(__file__).parent.parent
LOOK_SECONDS = 0.02  # between looks at the memory of a process
EPOCHS = 6
FORWARD_STEPS = 10  # batches of which the time of all is reckoned


class RuntimeOnly(Section):
    """What `evaluate` reads of params.yaml."""

    runtime: RuntimeParams


@dataclass
class Finished:
    """A process that has ended well.

    Attributes:
        peak: most bytes in memory at once.
        epochs: bytes in memory whenever it said that an epoch was done.
    """

    seconds: float = 0.0
    peak: int = 0
    output: str = ""
    epochs: list[int] = field(default_factory=list)


def run(command: list[str], folder: Path, **environment: str) -> Finished:
    """Run a program in a folder.

    Raises:
        RuntimeError: it failed; the message is what it printed.
    """
    result = Finished()
    with tempfile.NamedTemporaryFile() as output:
        began = time.perf_counter()
        process = psutil.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            result.peak = max(result.peak, peak_of(process.pid))
            result.output = Path(output.name).read_text(encoding="utf-8")
            if len(re.findall(r"^\w+ epoch ", result.output, re.MULTILINE)) > len(result.epochs):
                result.epochs.append(process.memory_info().rss)
            time.sleep(LOOK_SECONDS)
        result.seconds = time.perf_counter() - began
        result.output = Path(output.name).read_text(encoding="utf-8")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{result.output}")
    return result


class Workspace:
    """A folder in which stages run as in the root of the project, with other parameters.

    Args:
        changes: of params.yaml: "image.crop": 32.
    """

    def __init__(self, folder: Path, changes: dict[str, Any]) -> None:
        self.folder = folder
        values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            (values[section] if section else values)[name] = value
        write_text(folder / "params.yaml", yaml.safe_dump(values))

    def stage(self, name: str, root: Path | None = None) -> Finished:
        """Run a stage as dvc.yaml has it.

        Args:
            root: what it takes for the root of the project, if not this folder.
        """
        pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
        command = pipeline["stages"][name]["cmd"]
        for key, path in self.paths().items():
            command = command.replace(f"${{path.{key}}}", path)
        _, *arguments = shlex.split(command)  # `python`
        return run([sys.executable, *arguments], self.folder, PYTHONPATH=str(ROOT), DVC_ROOT=str(root or self.folder))

    def paths(self) -> dict[str, str]:
        """The paths of dvc.yaml by their names there, relative to the folder."""
        pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
        paths: dict[str, str] = pipeline["vars"][0]["path"]
        return paths


@contextmanager
def workspace(**changes: Any) -> Iterator[Workspace]:
    """A temporary `Workspace`; in keywords `__` stands for the dot of a parameter."""
    with tempfile.TemporaryDirectory() as folder:
        yield Workspace(Path(folder), {key.replace("__", "."): value for key, value in changes.items()})


def start_up(stage: str, times: int) -> tuple[float, bool]:
    """Seconds (median) until a stage's module is imported, and whether DVC is among what that imports.

    `evaluate` imports scikit-learn and Matplotlib later.
    """
    program = f"import sys, time, stages.{stage}; print(time.time(), 'dvc' in sys.modules)"
    seconds = []
    for _ in range(times):
        began = time.time()
        *_, ready, has_dvc = run([sys.executable, "-c", program], ROOT).output.split()
        seconds.append(float(ready) - began)
    return median(seconds), has_dvc == "True"


def nothing_to_do(times: int) -> Finished:
    """`dvc repro` (median of the times) in a clone of this commit where everything is up to date.

    Everything is small stand-ins: DVC looks at times and sizes of files that it knows.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        pipeline = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))
        for key, path in pipeline["vars"][0]["path"].items():
            write_text(clone / path / "file" if key == "raw" else clone / path, key)
        for stage in pipeline["stages"].values():
            for kind in ("metrics", "plots"):
                for entry in stage.get(kind, []):
                    for path in map(clone.joinpath, entry):
                        if not path.exists():
                            write_text(path if path.suffix else path / "file.tsv", "")
        dvc = [sys.executable, "-m", "dvc"]
        run([*dvc, "commit", "--force", "--quiet"], clone, DVC_NO_ANALYTICS="1")
        runs = [run([*dvc, "repro"], clone, DVC_NO_ANALYTICS="1") for _ in range(times)]
        if "up to date" not in runs[0].output:
            raise RuntimeError(f"dvc repro had something to do:\n{runs[0].output}")
        return sorted(runs, key=lambda each: each.seconds)[times // 2]


def memory_over_epochs() -> list[int]:
    """Bytes in memory after each of `EPOCHS` epochs of VGG11 on a few handwritten digits at 32 pixels."""
    few = {"dataset__name": "digits", "preprocess__validation": 50, "preprocess__fraction": 0.1, "batch_size": 64}
    with workspace(**few, image__resize=32, image__crop=32, train_vgg11__epochs=EPOCHS) as work:
        work.stage("download")
        work.stage("preprocess")
        return work.stage("train_vgg11").epochs


@dataclass(frozen=True)
class OnCifar10:
    """What the stages before and after training take on all of CIFAR-10.

    Attributes:
        evaluate: the one of median time.
        forward: median of the seconds of the forward passes that `evaluate` needs, alone.
        side: pixels a side in `evaluate`.
    """

    preprocess: Finished
    evaluate: Finished
    forward: float
    side: int


def on_cifar10(times: int) -> OnCifar10 | None:
    """Run `preprocess` once and `evaluate`, of untrained networks, several times; None when no CIFAR-10 is at hand.

    At hand: in data/raw, or where CIFAR10_URL says.
    """
    side, resize = (224, 256) if device().type == "cuda" else (32, 32)
    with workspace(image__resize=resize, image__crop=side) as work:
        raw = ROOT / work.paths()["raw"]
        if is_cifar10(raw):
            (work.folder / "data").mkdir()
            (work.folder / work.paths()["raw"]).symlink_to(raw.absolute())
        elif os.environ.get("CIFAR10_URL"):
            work.stage("download", root=ROOT)  # from there a relative path counts
        else:
            return None
        preprocessed = work.stage("preprocess")
        write_models(work)
        test = work.folder / work.paths()["test"]
        batches = len(dataset.load(test)) / BATCH
        workers = [Worker(Forward, work.folder / work.paths()[model], test) for model in ("vgg11", "vgg16")]
        evaluated, forward = [], []
        try:
            for worker in workers:
                worker.ask(block, 1)
            for _ in range(times):  # in turns, as the machine may slow down meanwhile
                evaluated.append(work.stage("evaluate"))
                forward.append(sum(worker.ask(block, FORWARD_STEPS) for worker in workers) / FORWARD_STEPS * batches)
        finally:
            for worker in workers:
                worker.close()
        evaluated.sort(key=lambda each: each.seconds)
        return OnCifar10(preprocessed, evaluated[times // 2], median(forward), side)


def is_cifar10(raw: Path) -> bool:
    """Whether a folder has the records of CIFAR-10, by their number."""
    files = [(raw / name, records) for name, records in RECORDS["cifar10"].items()]
    return all(file.exists() and file.stat().st_size == records * RECORD_BYTES for file, records in files)


def write_models(work: Workspace) -> None:
    """Write what `evaluate` reads: untrained networks, and curves of one epoch."""
    test = dataset.load(work.folder / work.paths()["test"])
    initial = load(TrainingParams).initial() | {"init": "kaiming"}  # or all images would look the same
    for name, column in (("vgg11", "A"), ("vgg16", "D")):
        network = build(column, test.format, **initial)  # type: ignore[arg-type]
        model_file.save(work.folder / work.paths()[name], model_file.Model(network, test.format))
        for curve in CURVES:
            write_text(work.folder / f"results/train_{name}/plots/metrics/{curve}.tsv", "step\tvalue\n1\t1.0\n")


class Forward:
    """The forward pass of a model file for one batch of the size of `evaluate`'s; `work` is images."""

    def __init__(self, model: Path, test: Path) -> None:
        self.runtime = start(load(RuntimeOnly).runtime.model_copy(update={"devices": 1}))
        saved, images = model_file.load(model), dataset.load(test).images[:BATCH]
        self.network = self.runtime.place(saved.network).eval()
        self.images = prepare(images.to(self.runtime.device), saved.format)
        self.work = float(len(images))

    @torch.inference_mode()
    def step(self) -> None:
        with self.runtime.autocast():
            self.network(self.images)
