"""The values of a params.yaml, comparable: by dotted key, and with numbers as numbers."""

from typing import Any

import yaml

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
    except (yaml.YAMLError, AttributeError) as error:  # no YAML, or no `key: value` lines
        raise InputError(f"params.yaml: not valid: {' '.join(str(error).split())}") from None


def plain(value: object) -> float | str:
    """A value as a number where it is one: 1e-05, which PyYAML reads as text, equals 0.00001 and 8 equals 8.0.

    Everything else is text: true is "true", and [32, 40] is "[32,40]".
    """
    try:
        return float(str(value))
    except ValueError:
        return str(value).lower().replace(" ", "")
