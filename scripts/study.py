"""Run the study's grid with DVC's queue, go on where it stopped, and write its tables and figures.

    python -m scripts.study presets/study-cpu               run what is missing, in the order of study/grid.yaml
    python -m scripts.study presets/study-cpu --rounds 1    the first round only
    python -m scripts.study presets/study-cpu --jobs 2      two runs at a time, each on half of the cores
    python -m scripts.study presets/study-cpu --list        what is done and what is left
    python -m scripts.study presets/study-cpu --collect     tables and figures of what is done

A run is done when an experiment with its parameters is in this clone (`dvc exp show`) or docs/study.csv has a row
with them. Ctrl-C ends the looking on; DVC's worker goes on until `dvc queue stop` (after the present run) or
`dvc queue stop --kill` (at once; the same command goes on from the last epoch).
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts import study_figures, study_table
from scripts.experiment import dvc, environment, git, reference
from scripts.grid import Grid, Run, Value, parameters, read, runs
from scripts.page import insert
from src import cli
from src.errors import InputError

GRID = Path("study", "grid.yaml")
TABLE = Path("docs", "study.csv")
FOLDER = Path("docs", "study")
PAGE = Path("docs", "study.md")
QUEUE = Path(".dvc", "tmp", "exps")
LOOK_EVERY = 30.0  # seconds between looks at the queue: each costs a second or two of one core
NOT_FINITE = re.compile(r"error: (.*(?:the loss is|are not finite).*)")
"""How training and evaluation say that numbers overflowed: a result of the study, not a fault to try again."""


@dataclass(frozen=True)
class Task:
    """An experiment in DVC's queue: its revision there, its name, and Queued, Running, Success or Failed."""

    revision: str
    name: str
    status: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", type=Path, help="a preset: image size, number of images, epochs")
    parser.add_argument("--rounds", type=int, metavar="N", help="only the first N rounds of the grid")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time, each on a share of the cores, all on one GPU"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="only say what is done and what is left")
    what.add_argument("--collect", action="store_true", help="only write tables and figures")
    arguments = parser.parse_args()
    grid = read(GRID)
    defaults = parameters(Path("params.yaml").read_text(encoding="utf-8"))
    wanted = [
        run for run in runs(grid, arguments.scale, defaults) if run.round <= (arguments.rounds or len(grid.rounds))
    ]

    tasks = queue()
    if arguments.list:
        print(listing(grid, wanted, done(wanted, defaults), {task.name: task.status for task in tasks}))
        return
    note_overflows(wanted, {task.name: task for task in tasks}, defaults)
    if not arguments.collect and (left := missing(wanted, defaults)):
        check()
        waiting = clear(left, tasks, defaults)
        for run in left:
            if run.name not in waiting:
                put(run)
        try:
            follow(wanted, defaults, arguments.jobs)
        except KeyboardInterrupt:
            message = "DVC's worker goes on; `dvc queue stop` ends it after the present run, `--kill` at once"
            raise KeyboardInterrupt(message) from None
    for path in collect(wanted, defaults):
        print(path)
    print(listing(grid, wanted, done(wanted, defaults), {}))


def done(wanted: Sequence[Run], defaults: Mapping[str, Value]) -> dict[str, str]:
    """By name of each run that is done: the experiment's commit, or "" where only study.csv has it."""
    rows, commits = study_table.read_rows(TABLE), study_table.experiments()
    found = {}
    for run in wanted:
        commit = study_table.find(run, commits, defaults)
        if commit or study_table.recorded(run, rows, defaults):
            found[run.name] = commit
    return found


def missing(wanted: Sequence[Run], defaults: Mapping[str, Value]) -> list[Run]:
    found = done(wanted, defaults)
    return [run for run in wanted if run.name not in found]


def listing(grid: Grid, wanted: Sequence[Run], found: Mapping[str, str], queued: Mapping[str, str]) -> str:
    """The grid by rounds, each run with its state and, when study.csv has it, with what came of it."""
    rows = {row["name"]: row for row in study_table.read_rows(TABLE)}
    lines = []
    for number, round_ in enumerate(grid.rounds, start=1):
        mine = [run for run in wanted if run.round == number]
        if mine:
            lines.append(f"round {number}: {round_.question}")
        for run in mine:
            state = "done" if run.name in found else queued.get(run.name, "left").lower()
            lines.append(f"  {state:8} {run.name:45} {outcome(rows.get(run.name, {}))}".rstrip())
    return "\n".join([*lines, f"{len(found)} of {len(wanted)} runs done, {len(wanted) - len(found)} left"])


def outcome(row: Mapping[str, str]) -> str:
    if not row:
        return ""
    if row["error"]:
        return row["error"]
    verdict = {"yes": "learned", "no": "did not learn"}.get(row["learned"], "not trained")
    foreseen = {"": "", "seed": ", left to the seed", row["learned"]: ", as predicted"}
    said = foreseen.get(row["predicted"], ", against the prediction")
    return f"best validation accuracy {row['best_validation_accuracy']}: {verdict}{said}"


def check() -> None:
    """Check that DVC's queue can run what is meant and keep what comes of it.

    Raises:
        InputError: the code has changes that no commit has, or the clone is shallow.
    """
    changed = git("status", "--porcelain", "--", "src", "stages", "dvc.yaml", "params.yaml").decode().splitlines()
    if changed:
        files = ", ".join(line[3:] for line in changed)
        raise InputError(f"uncommitted changes in {files}: commit them first, so that results name their code")
    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        raise InputError("DVC loses queued experiments in a shallow clone; run `git fetch --unshallow` first")


def queue() -> list[Task]:
    """What DVC's queue holds; of several tasks of one name, the one that is waiting or running comes last."""
    tasks = []
    for line in dvc_output("queue", "status").splitlines():
        words = line.split()
        if len(words) > 3 and words[-1] in ("Queued", "Running", "Success", "Failed"):
            tasks.append(Task(words[0], words[1], words[-1]))
    return sorted(tasks, key=lambda task: ("Success", "Failed", "Queued", "Running").index(task.status))


def clear(left: Sequence[Run], tasks: Sequence[Task], defaults: Mapping[str, Value]) -> set[str]:
    """Make room in the queue for the runs that are left; returns the names of those that are in it already.

    What a stopped machine left `Running` is ended, what failed is taken out, and so is what has other parameters, the
    grid having changed since. An experiment of the same name, which the new one would collide with, is removed.
    """
    runs_left, waiting = {run.name: run for run in left}, set()
    for task in tasks:
        if task.name not in runs_left:
            continue
        alive = task.status == "Queued" or (task.status == "Running" and (runs_still(task) or worker_runs()))
        if alive and is_of(task, runs_left[task.name], defaults):
            waiting.add(task.name)
            continue
        if task.status == "Running":
            end(task)
        dvc("queue", "remove", "--quiet", task.revision)
    for name in runs_left.keys() - waiting:
        if reference(name):
            dvc("exp", "remove", "--quiet", name)
    return waiting


def end(task: Task) -> None:
    """Kill a task and wait, for a minute at most, until DVC knows that it has ended and lets it be removed."""
    dvc("queue", "kill", task.revision)
    for _ in range(30):
        if not any(other.revision == task.revision and other.status == "Running" for other in queue()):
            break
        time.sleep(2)


def put(run: Run) -> None:
    """Queue a run."""
    settings = (f"--set-param={key}={value}" for key, value in run.settings.items())
    dvc("exp", "run", "--quiet", "--queue", "--name", run.name, *settings)
    print(f"queued {run.name}", flush=True)


def start_workers(jobs: int) -> None:
    """Start DVC's workers, which run one experiment each at a time.

    Several share the cores: a stage takes as many threads as its process may use cores. Runs that start together
    train the same VGG11 both; runs that start later take it from DVC's run cache.
    """
    dvc("queue", "start", "--jobs", str(jobs))
    here = psutil.Process()
    if jobs == 1 or not hasattr(here, "cpu_affinity"):  # macOS lets no process choose its cores
        return
    cores = here.cpu_affinity()
    for index, path in enumerate(sorted(QUEUE.glob("celery/**/dvc-exp-worker-*.json"))):
        if is_alive(path, "queue-worker"):  # it has just started, and takes seconds to start anything itself
            pid = json.loads(path.read_text(encoding="utf-8"))["pid"]
            psutil.Process(pid).cpu_affinity(cores[index % jobs :: jobs] or cores)


def follow(wanted: Sequence[Run], defaults: Mapping[str, Value], jobs: int) -> None:
    """Look on until no run is left in the queue; tables and figures are written after each.

    Raises:
        InputError: runs failed, or left the queue without a trace.
    """
    started, known = time.monotonic(), set(done(wanted, defaults))
    before = len(known)
    while True:
        tasks = {task.name: task for task in queue()}
        note_overflows(wanted, tasks, defaults)
        found = done(wanted, defaults)
        if new := [name for name in found if name not in known]:
            known |= set(new)
            collect(wanted, defaults)
            rows = {row["name"]: row for row in study_table.read_rows(TABLE)}
            each, count = (time.monotonic() - started) / 60 / (len(known) - before), len(wanted) - len(known)
            for name in new:
                print(f"{name}: {outcome(rows.get(name, {}))}")
            print(
                f"{len(known)} of {len(wanted)} runs done, {count} left, about {each * count:.0f} minutes", flush=True
            )
        left = [run.name for run in wanted if run.name not in found]
        queued = any(name in tasks and tasks[name].status == "Queued" for name in left)
        if queued and not worker_runs():
            start_workers(jobs)
        # A worker that has nothing left to do ends by itself, after it has put away what it ran.
        if not left or not (queued or worker_runs() or any(name in tasks and runs_still(tasks[name]) for name in left)):
            break
        time.sleep(LOOK_EVERY)
    if left:
        names = ", ".join(left)
        raise InputError(f"not done: {names}; `dvc queue logs NAME` says why, the same command tries them again")


def note_overflows(wanted: Sequence[Run], tasks: Mapping[str, Task], defaults: Mapping[str, Value]) -> None:
    """Give each run whose numbers overflowed a row in study.csv; DVC keeps no experiment of what failed."""
    records = []
    for run in missing(wanted, defaults):
        task = tasks.get(run.name)
        if task and task.status == "Failed" and is_of(task, run, defaults):
            try:
                log = dvc_output("queue", "logs", task.revision)
            except InputError:
                continue  # it failed before it began
            if reason := NOT_FINITE.search(log):
                records.append(study_table.failed(run, reason[1], defaults))
    if records:
        study_table.write(TABLE, FOLDER, records, [run.name for run in wanted])


def collect(wanted: Sequence[Run], defaults: Mapping[str, Value]) -> list[Path]:
    """Write tables and figures of all that is done, and the page's table of cells; returns the figures."""
    commits = done(wanted, defaults)
    records = [study_table.record(run, commits[run.name], defaults) for run in wanted if commits.get(run.name)]
    study_table.write(TABLE, FOLDER, records, [run.name for run in wanted])
    insert(PAGE, "cells", study_table.summary(study_table.read_rows(TABLE)))
    return study_figures.draw(TABLE, FOLDER)


def is_of(task: Task, run: Run, defaults: Mapping[str, Value]) -> bool:
    """Whether a task was queued with the parameters that the run of its name has now."""
    return study_table.matches(run, parameters(study_table.show(task.revision, "params.yaml")), defaults)


def runs_still(task: Task) -> bool:
    return any(is_alive(path, "exec-run") for path in QUEUE.glob(f"run/{task.revision}*/*.json"))


def worker_runs() -> bool:
    """Whether DVC's worker is there.

    DVC asks it and waits a second for an answer, which comes later on a busy machine; then a second worker would
    start, or a run that is well be taken for dead. So this looks at the process.
    """
    return any(is_alive(path, "queue-worker") for path in QUEUE.glob("celery/**/dvc-exp-worker-*.json"))


def is_alive(path: Path, word: str) -> bool:
    """Whether the process that DVC noted in `path` still runs, and is no other with its number."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        process = psutil.Process(noted["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and word in " ".join(process.cmdline())
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False


def dvc_output(*arguments: str) -> str:
    """What a DVC command prints.

    Raises:
        InputError: it failed.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    result = subprocess.run(command, env=environment(), capture_output=True, encoding="utf-8", check=False)
    if result.returncode:
        raise InputError(f"dvc {' '.join(arguments)} failed: {' '.join(result.stderr.split())}")
    return result.stdout


if __name__ == "__main__":
    cli.run(main)
