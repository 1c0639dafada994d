"""Do the missing runs of the study, one DVC experiment after the other, and write the tables and figures.

A run is done if this clone has an experiment with the parameters of the run, or docs/study.csv has a row with them.
After Ctrl-C the same command continues from the last state of training.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides

from scripts.experiment import run_experiment
from scripts.markdown import insert
from scripts.parameters import parameters
from scripts.workspace import git
from src.base import cli, params
from src.base.errors import InputError
from stages import evaluate, inspect_init, inspect_transfer, preprocess, train_vgg11, train_vgg16
from study import figures, table
from study.grid import Grid, Run, read, runs

PAGE = Path("docs", "study", "cells.md")
STAGES = (preprocess, inspect_init, train_vgg11, inspect_transfer, train_vgg16, evaluate)


def main() -> None:
    parser = argparse.ArgumentParser("python -m study", description=__doc__)
    parser.add_argument("scale", type=Path, help="a preset: image size, number of images, epochs")
    parser.add_argument("--grid", type=Path, default=Path("study", "grid.yaml"), help="default: %(default)s")
    parser.add_argument(
        "--rounds", type=int, default=sys.maxsize, metavar="N", help="only the first N rounds of the grid"
    )
    parser.add_argument("--list", action="store_true", help="only say what is done and what is left")
    parser.add_argument("--collect", action="store_true", help="only write tables and figures")
    arguments = parser.parse_args()
    grid = read(arguments.grid)
    if arguments.rounds < 1:
        raise InputError(f"--rounds: {arguments.rounds}, expected at least 1")
    every = runs(grid, arguments.scale, parameters(Path("params.yaml").read_bytes()))
    table.check(grid, every)
    wanted = [run for run in every if run.round <= arguments.rounds]
    if arguments.collect:
        collect(grid, wanted)
    elif not arguments.list:
        run_missing(grid, wanted)
    print(listing(grid, wanted))


def run_missing(grid: Grid, wanted: list[Run]) -> None:
    """Run what is missing, in order. Update tables and figures after each run. Failures are an `InputError`."""
    check(wanted)
    left, tried, started = collect(grid, wanted), list[Run](), time.monotonic()
    while queue := [run for run in left if run not in tried]:
        if changed := git("status", "--porcelain", "--", "src", "stages", "dvc.yaml", "params.yaml").decode():
            files = ", ".join(line[3:] for line in changed.splitlines())
            raise InputError(f"uncommitted changes in {files}: commit them first, so that results name their code")
        run, output, failure = queue[0], list[str](), "the experiment has other parameters"
        try:
            settings = [f"{key}={value}" for key, value in run.settings.items()]
            run_experiment(run.name, settings, output, stages=run.stages)
        except InputError as error:
            failure = str(error)
            # Numbers that overflow are a result of the study. DVC keeps no experiment of them.
            if overflow := re.search(r"error: (.*(?:the loss is|are not finite).*)", "".join(output)):
                table.write(run.name, {table.STUDY: [table.new_row(run, learned="no", error=overflow[1])]})
        left = collect(grid, wanted)
        tried.append(run)
        minutes = (time.monotonic() - started) / 60 / len(tried) * (len(queue) - 1)
        result = f"failed, {failure}" if run in left else outcome(run)
        print(f"{run.name}: {result}; {len(queue) - 1} left, about {minutes:.0f} minutes", flush=True)
    if left:
        raise InputError(f"failed: {', '.join(run.name for run in left)}; the same command tries them again")


def check(wanted: list[Run]) -> None:
    """Find out before any work whether the stages allow all parameters, and whether DVC writes them like the grid."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        for run in {run.cell: run for run in wanted}.values():
            path.write_bytes(Path("params.yaml").read_bytes())
            try:
                apply_overrides(path, [f"{key}={value}" for key, value in run.settings.items()])
                for stage in STAGES:
                    params.load(stage.Params, path)
                for key, value in parameters(path.read_bytes()).items():
                    if run.parameters.get(key) != value:
                        raise InputError(
                            f"{key}: DVC writes another value; write a plain one, without quotes and signs"
                        )
            except (DvcException, InputError) as error:
                raise InputError(f"cell {run.cell}: {str(error).replace(str(path), 'params.yaml')}") from None


def collect(grid: Grid, wanted: list[Run]) -> list[Run]:
    """Write tables, figures and the page's table of all that is done; returns what is left."""
    done, recorded = table.find_done(wanted), {row["name"] for row in table.read(table.STUDY)}
    for run in wanted:
        if commit := done.get(run.name):
            try:
                table.write(run.name, table.record(run, commit))
            except (InputError, LookupError, ValueError, OSError) as error:  # damaged, or of another pipeline
                raise InputError(f"{run.name}: experiment {commit[:10]} is unusable, remove it: {error!r}") from None
        elif run.name in done and run.name not in recorded:
            table.write(run.name, table.same_as_another(run))
    rows = table.read(table.STUDY)
    insert(PAGE, "cells", table.summary(rows))
    if grid.table:
        cells = table.group([row for row in rows if row["scale"] == grid.table.scale], "cell")
        if mine := [row for cell in grid.cells for row in cells.get(cell, [])]:
            insert(Path(grid.table.page), grid.table.place, table.by_cell(mine, grid.table.columns))
    for scale in dict.fromkeys(run.scale for run in wanted):
        figures.draw(grid, scale)
    return [run for run in wanted if run.name not in done]


def listing(grid: Grid, wanted: list[Run]) -> str:
    """The grid by rounds, each run with its state."""
    done, lines = table.find_done(wanted), list[str]()
    for number, round_ in enumerate(grid.rounds, start=1):
        mine = [run for run in wanted if run.round == number]
        lines += [f"round {number}: {round_.question}"] if mine else []
        lines += [f"  done {run.name}: {outcome(run)}" if run.name in done else f"  left {run.name}" for run in mine]
    return "\n".join([*lines, f"{len(done)} of {len(wanted)} runs done, {len(wanted) - len(done)} left"])


def outcome(run: Run) -> str:
    """What study.csv says of a run."""
    row = {row["name"]: row for row in table.read(table.STUDY)}.get(run.name)
    if row is None:
        return "its row is made by the next `make study`"
    text = "best validation accuracy {best_validation_accuracy}, learned: {learned}, predicted: {predicted}"
    return row["error"] or text.format_map(row)


if __name__ == "__main__":
    cli.run(main)
