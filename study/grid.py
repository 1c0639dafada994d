"""Make the runs of the study from a grid and a scale. A grid is a file such as study/grid.yaml, a scale is a preset."""

import re
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from scripts.parameters import plain, read_preset, repeated
from src.base.errors import InputError
from src.base.params import Section, Seed, read_yaml

VARIED = (
    *("seed", "dataset.name", "init", "init_std", "dropout", "image.resize", "image.crop", "image.pixel_scale"),
    *("augment.random_crop", "augment.flip", "augment.colour_shift"),
    *("preprocess.validation", "preprocess.fraction", "batch_size"),
    *("optimizer.name", "optimizer.lr", "optimizer.momentum", "optimizer.weight_decay", "optimizer.eps"),
    *("schedule.name", "schedule.patience", "train_vgg11.network", "train_vgg11.epochs"),
    *(
        "train_vgg11.start",
        "train_vgg11.start_sha256",
        "train_vgg16.network",
        "train_vgg16.epochs",
        "train_vgg16.transfer",
    ),
    *("evaluate.test", "evaluate.scales", "evaluate.flip", "runtime.precision"),
)
"""The keys of params.yaml that make two runs different: all but some of `runtime`. Cells may set all but the seed."""


class Round(Section):
    question: str
    seeds: list[Seed]
    cells: list[str]


class Table(Section):
    """Where a page shows the cells of a grid, beside docs/study/cells.md, which shows those of all grids."""

    page: str
    place: str  # of the comments of `markdown.insert`
    scale: str  # whose runs it has
    columns: list[str]  # of study.csv


Name = Annotated[str, Field(pattern=r"^[\w.+-]+$")]


class Grid(Section):
    cells: dict[Name, Annotated[str, Field(pattern=rf"^(({'|'.join(map(re.escape, VARIED[1:]))})=\S+( +|$))*$")]]
    rounds: list[Round]
    panels: Annotated[dict[str, list[str]], Field(min_length=1)]
    table: Table | None = None
    tested: bool = True  # false: without the stage `evaluate`, where the test takes longer than the training


TRAINED = ("inspect_init", "inspect_transfer", "train_vgg16")
TESTED = (*TRAINED, "evaluate")
"""With the stages before them, the whole pipeline."""


class Run(NamedTuple):
    name: str  # of the DVC experiment: scale, cell and seed
    scale: str
    cell: str
    round: int  # from 1
    settings: dict[str, str]  # the arguments of `dvc exp run -S` by key; a cell overrides the scale
    parameters: dict[str, float | str]  # all values of params.yaml by dotted key, with the settings
    stages: tuple[str, ...] = TESTED  # with the stages before them


def read(path: Path) -> Grid:
    """Read the grid. A file that is no grid, or names a cell that it does not have, is an `InputError`."""
    try:
        grid = Grid.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: not a grid: {' '.join(str(error).split())}") from None
    named = {cell for cells in [*(each.cells for each in grid.rounds), *grid.panels.values()] for cell in cells}
    if unknown := sorted(named - grid.cells.keys()):
        raise InputError(f"{path}: no such cell: {', '.join(unknown)}")
    for cell, settings in grid.cells.items():
        if twice := repeated(setting.partition("=")[0] for setting in settings.split()):
            raise InputError(f"{path}: cell {cell}: {twice}: twice; keep one")
    return grid


def runs(grid: Grid, scale: Path, defaults: dict[str, float | str]) -> list[Run]:
    """All experiments of the grid at a scale, in the order in which they run. `defaults`: params.yaml by dotted key.

    A cell that the scale makes equal to an earlier one, such as all images where the scale has them all, is left out.
    """
    stages = TESTED if grid.tested else TRAINED
    common, found = read_preset(scale), dict[tuple[float | str | None, ...], Run]()
    for number, round_ in enumerate(grid.rounds, start=1):
        for seed in round_.seeds:
            for cell in round_.cells:
                settings = dict(line.split("=", 1) for line in (*common, *grid.cells[cell].split(), f"seed={seed}"))
                values = defaults | {key: plain(value) for key, value in settings.items()}
                run = Run(f"{scale.name}-{cell}-{seed}", scale.name, cell, number, settings, values, stages)
                found.setdefault(tuple(values.get(key) for key in VARIED), run)
    return list(found.values())
