"""The grid of the study as runs: study/grid.yaml at a scale, which is a preset."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from scripts.experiment import read_preset
from src.errors import InputError
from src.params import Section, Seed

VARIED = (
    "seed",
    "init",
    "init_std",
    "image.resize",
    "image.crop",
    "image.pixel_scale",
    "preprocess.validation",
    "preprocess.fraction",
    "batch_size",
    "optimizer.name",
    "optimizer.lr",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "optimizer.eps",
    "train_vgg11.epochs",
    "train_vgg16.epochs",
    "train_vgg16.transfer",
    "runtime.precision",
)
"""The keys of params.yaml that cells, scales and seeds set."""

Value = float | str


@dataclass(frozen=True)
class Run:
    """One experiment of the study.

    Attributes:
        name: of the DVC experiment: scale, cell and seed.
        round: from 1.
        settings: by key, the arguments of `dvc exp run -S`; what a cell sets goes before what the scale sets.
    """

    name: str
    scale: str
    cell: str
    round: int
    settings: dict[str, str]


class Round(Section):
    question: str
    seeds: Annotated[list[Seed], Field(min_length=1)]
    cells: Annotated[list[str], Field(min_length=1)]


class Grid(Section):
    cells: dict[str, str]
    rounds: list[Round]


def read(path: Path) -> Grid:
    """Read the grid.

    Raises:
        InputError: the file is no grid, a setting is no `key=value` of a varied key, or a round has an unknown cell.
    """
    try:
        grid = Grid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, yaml.YAMLError, ValidationError) as error:
        raise InputError(f"{path}: not a grid: {' '.join(str(error).split())}") from None
    for cell, text in grid.cells.items():
        for setting in text.split():
            key, equals, _ = setting.partition("=")
            if not equals or key not in VARIED:
                raise InputError(f"{path}: {cell}: {setting!r}: expected key=value; keys: {', '.join(VARIED)}")
    for number, round_ in enumerate(grid.rounds, start=1):
        if unknown := [cell for cell in round_.cells if cell not in grid.cells]:
            raise InputError(f"{path}: round {number}: no such cell: {', '.join(unknown)}")
    return grid


def runs(grid: Grid, scale: Path, defaults: Mapping[str, Value]) -> list[Run]:
    """All experiments of the grid at a scale, in the order in which they shall run.

    A cell that the scale makes equal to an earlier one, such as all images where the scale has them all, is left out.

    Args:
        defaults: the values of params.yaml, by dotted key.

    Raises:
        InputError: the scale is no preset.
    """
    common = _settings(read_preset(scale))
    found: dict[tuple[Value, ...], Run] = {}
    for number, round_ in enumerate(grid.rounds, start=1):
        for seed in round_.seeds:
            for cell in round_.cells:
                settings = common | _settings(grid.cells[cell].split()) | {"seed": str(seed)}
                run = Run(f"{scale.name}-{cell}-{seed}", scale.name, cell, number, settings)
                found.setdefault(tuple(varied(run, defaults).values()), run)
    return list(found.values())


def varied(run: Run, defaults: Mapping[str, Value]) -> dict[str, Value]:
    """The varied parameters of a run, those of params.yaml where it sets none."""
    return {key: plain(run.settings.get(key, defaults[key])) for key in VARIED}


def parameters(text: str) -> dict[str, Value]:
    """The values of a params.yaml by dotted key, so that texts can be compared that DVC and people wrote."""
    return {key: plain(value) for key, value in _flat("", yaml.safe_load(text)).items()}


def plain(value: object) -> Value:
    """A value as a number where it is one: 1e-05, which PyYAML reads as text, equals 0.00001 and 8 equals 8.0."""
    try:
        return float(str(value))
    except ValueError:
        return str(value).lower()


def _settings(lines: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def _flat(prefix: str, values: object) -> dict[str, object]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        name: value
        for key, inner in values.items()
        for name, value in _flat(f"{prefix}.{key}" if prefix else str(key), inner).items()
    }
