"""params.yaml: read as DVC reads it, validated once, section by section.

The model of each section stands beside the code that uses the section. So a new option changes one room. It does not
change this file, on which every stage depends. A stage lists the sections that it uses as the fields of a `Section`.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from src.base.errors import InputError
from src.base.messages import one_line

KEYS = (
    "seed",
    "dataset",
    "preprocess",
    "image",
    "augment",
    "init",
    "init_std",
    "dropout",
    "batch_size",
    "optimizer",
    "schedule",
    "train_vgg11",
    "train_vgg16",
    "evaluate",
    "runtime",
)
"""Every top-level key of params.yaml."""
NEW_KEYS = "; CHANGELOG.md says what to write for keys that are new"

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
Eps = Annotated[float, Field(ge=1.2e-38)]  # of Adam, which computes in float32: a smaller one would be 0


class Section(BaseModel):
    """A section of params.yaml: no unknown keys, no conversion of types ("0.1" is not a number), no inf or nan."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Part(Section):
    """Some keys of a section, for a stage that does not depend on the other keys, whatever their values."""

    model_config = ConfigDict(extra="ignore")


S = TypeVar("S", bound=Section)


def load(model: type[S], path: Path = Path("params.yaml")) -> S:
    """Read the keys of params.yaml that are fields of `model`, and no others.

    Raises:
        InputError: the file cannot be read, is not a YAML mapping, repeats or lacks a key, has an unknown key, or has a
            value that `model` does not allow. The message names the file, the key, the value and what is allowed.
    """
    values = read_yaml(path)
    for key in values:
        if key not in KEYS:
            raise InputError(f"{path}: {one_line(key)}: unknown parameter{_hint(key, KEYS)}")
    if absent := [key for key in KEYS if key not in values]:  # DVC would not say what to write
        raise InputError(f"{path}: {'; '.join(f'{key}: missing' for key in absent)}{NEW_KEYS}")
    try:
        return model.model_validate({key: values[key] for key in model.model_fields})
    except ValidationError as error:
        problems = "; ".join(_describe(details, model) for details in error.errors())
        hint = NEW_KEYS if any(details["type"] == "missing" for details in error.errors()) else ""
        raise InputError(f"{path}: {problems}{hint}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML with the plain values of YAML 1.2, as DVC reads and writes them with ruamel.yaml.

    PyYAML follows YAML 1.1, where 1e-05 (which `dvc exp run -S` writes) is a string, `no` is false and 010 is eight.
    ruamel.yaml also reads `.inf`, `0x1F`, `1_000` and dates. This loader returns the same value or raises an error.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's interface; drops the rules of YAML 1.1
    yaml_constructors = {}  # noqa: RUF012 - drops explicit tags such as !!bool and !!timestamp

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice; keep one", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = self.construct_scalar(node).replace("_", "")
        if re.match("[-+]?0[box]", text):
            return int(text, 0)
        try:
            return int(text)
        except ValueError:
            return float(re.sub("[.](?=inf|nan)", "", text.lower()))

    def construct_boolean(self, node: yaml.ScalarNode) -> bool:
        return str(self.construct_scalar(node)).lower() == "true"

    def refuse(self, node: yaml.Node) -> None:
        """DVC cannot read the plain values `=` and `<<`, and nothing here needs a tag such as `!!int`."""
        problem = f"{node.tag if node.tag.startswith('tag:') else node.value!r} is not allowed"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_NUMBER = re.compile(
    r"""([-+]?0b[01_]+ | [-+]?0o[0-7_]+ | [-+]?0x[0-9a-fA-F_]+
    | [-+]?[0-9][0-9_]*([.][0-9_]*)?([eE][-+]?[0-9]+)? | [-+]?[.][0-9_]+([eE][-+][0-9]+)?
    | [-+]?[.](inf|Inf|INF) | [.](nan|NaN|NAN))$""",
    re.VERBOSE,
)
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_DATE = next(rule for tag, rule in yaml.SafeLoader.yaml_implicit_resolvers["2"] if tag == _TIMESTAMP)
_Loader.add_implicit_resolver("number", _NUMBER, list("-+.0123456789"))
_Loader.add_implicit_resolver(_TIMESTAMP, _DATE, list("0123456789"))
_Loader.add_implicit_resolver("boolean", re.compile("(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("refused", re.compile("(=|<<)$"), ["=", "<"])
_Loader.add_constructor("number", _Loader.construct_number)
_Loader.add_constructor("boolean", _Loader.construct_boolean)
for _kind in ("null", "str", "seq", "map", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", getattr(_Loader, f"construct_yaml_{_kind}"))
_Loader.add_constructor(None, _Loader.refuse)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines as DVC reads params.yaml.

    Raises:
        InputError: the file cannot be read, is not such a file, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if re.search("^%", text, re.MULTILINE):  # DVC would follow `%YAML 1.1`
            raise ValueError("a line begins with %; remove it")
        values = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the command in the root of the project") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise InputError(f"{path}: expected `key: value` lines, found {found}; restore the file with git")
    return values


def _describe(details: ErrorDetails, model: type[Section]) -> str:
    """One problem, such as 'optimizer.lr: 'fast': Input should be a valid number'."""
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] == "missing":
        return f"{key}: missing"
    if details["type"] == "extra_forbidden":
        return (
            f"{one_line(key)}: unknown parameter{_hint(str(details['loc'][-1]), _fields(model, details['loc'][:-1]))}"
        )
    value = "" if isinstance(details["input"], dict) else f"{details['input']!r}: "
    return f"{key}: {value}{details['msg'].removeprefix('Value error, ')}"


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    fields = model.model_fields
    for part in location:
        fields = getattr(fields[str(part)].annotation, "model_fields", {})
    return list(fields)


def _hint(key: str, known: list[str] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested dictionaries by dotted key, such as `optimizer.lr`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
