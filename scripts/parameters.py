"""The values of a params.yaml, comparable: by dotted key, and with numbers as numbers. The settings of a preset."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.hydra import to_hydra_overrides
from hydra.errors import OverrideParseException

from src.base.errors import InputError
from src.base.params import flat


def parameters(text: bytes) -> dict[str, float | str]:
    """The values of a params.yaml by dotted key, as `plain` gives them.

    Raises:
        InputError: the text is not YAML.
    """
    return {key: plain(value) for key, value in by_dotted_key(text).items()}


def by_dotted_key(text: bytes) -> dict[str, Any]:
    """The values of a params.yaml by dotted key, such as `optimizer.lr`.

    Raises:
        InputError: the text is not YAML.
    """
    try:
        return flat(yaml.safe_load(text))
    except (yaml.YAMLError, AttributeError, TypeError) as error:  # no YAML, or no `key: value` lines
        raise InputError(f"params.yaml: not valid: {' '.join(str(error).split())}") from None


def plain(value: object) -> float | str:
    """A value as a number where it is one: 1e-05, which PyYAML reads as text, equals 0.00001 and 8 equals 8.0.

    Everything else is text: true is "true", and [32, 40] is "[32,40]".
    """
    try:
        return float(str(value))
    except ValueError:
        return str(value).lower().replace(" ", "")


def read_preset(path: Path) -> list[str]:
    """The `key=value` lines of a preset.

    Raises:
        InputError: the file is missing, has a line that is neither a setting for DVC nor a comment, or repeats a key.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        there = " ".join(map(str, sorted(Path("presets").glob("*"))))
        raise InputError(f"{path}: no such preset; there are: {there}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text in UTF-8; a preset has one key=value a line") from None
    settings = [line for line in lines if line and not line.startswith("#")]
    for setting in settings:
        if not re.match(r"[\w.]+=", setting) or " " in setting:
            raise InputError(f"{path}: {setting!r}: expected key=value")
        try:
            several = to_hydra_overrides([setting])[0].is_sweep_override()
        except OverrideParseException:
            raise InputError(f"{path}: {setting!r}: DVC cannot read it; put the value in quotes: key='value'") from None
        if several:
            raise InputError(f"{path}: {setting!r}: expected one value; a list has brackets: key=[1,2]")
    if twice := repeated(setting.partition("=")[0] for setting in settings):
        raise InputError(f"{path}: {twice}: twice; keep one")
    return settings


def repeated(names: Iterable[str]) -> str:
    """The names that are there more than once, separated by commas."""
    return ", ".join(name for name, count in Counter(names).items() if count > 1)
