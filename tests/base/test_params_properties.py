"""Whatever is done to one value of params.yaml: a stage that reads it ends in one line that names the key."""

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import ParseError, parse_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.base import cli
from src.base.errors import InputError
from src.base.params import Part, Section, load
from tests.defaults import DEFAULTS, STAGES

PARAMS: dict[str, Any] = yaml.safe_load(DEFAULTS)
LEAVES = [
    (section, key) for section, values in PARAMS.items() for key in (values if isinstance(values, dict) else [None])
]

# Nothing of this is allowed for any key: words, negative and infinite numbers, the traps of YAML 1.1, structures.
words = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)
wrong = st.one_of(
    words.filter(lambda word: word not in DEFAULTS),
    st.sampled_from(["no", "off", "yes", "on", "1e-05x", "1:30", "0.1.2", "", " ", "é", "1_000", "0x10", "~x"]),
    st.integers(max_value=-1),
    st.floats(max_value=-1e-9, allow_infinity=True),
    st.sampled_from([float("nan"), float("inf")]),
    st.none(),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(words, st.integers(), min_size=1, max_size=2),
)


def changed(section: str, key: str | None, value: Any) -> dict[str, Any]:
    params = copy.deepcopy(PARAMS)
    if key is None:
        params[section] = value
    else:
        params[section][key] = value
    return params


def readers(section: str, key: str | None) -> list[Any]:
    """The parameter models of the stages that read this value."""
    found = []
    for params in STAGES.values():
        field = params.model_fields.get(section)
        if field and not (_is_part(field.annotation) and key not in field.annotation.model_fields):
            found.append(params)
    return found


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Part)


def message(folder: Path, text: str, params: Any) -> str:
    """What a stage ends with that loads `params` from this text: `sys.exit` with one line, so the exit code is 1."""
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: load(params, path))
    assert isinstance(end.value.code, str)
    assert len(end.value.code.splitlines()) == 1
    return end.value.code.removeprefix(f"error: {path}: ")


many = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(leaf=st.sampled_from(LEAVES), value=wrong)
def test_a_wrong_value_is_named(tmp_path: Path, leaf: tuple[str, str | None], value: Any) -> None:
    text = yaml.safe_dump(changed(*leaf, value), allow_unicode=True)
    name = ".".join(filter(None, leaf))
    assert readers(*leaf)
    for params in readers(*leaf):
        assert name in message(tmp_path, text, params)


@many
@given(leaf=st.sampled_from(LEAVES))
def test_a_missing_key_is_named(tmp_path: Path, leaf: tuple[str, str | None]) -> None:
    section, key = leaf
    params = copy.deepcopy(PARAMS)
    del (params if key is None else params[section])[key or section]
    for model in readers(*leaf):
        assert f"{'.'.join(filter(None, leaf))}: missing" in message(tmp_path, yaml.safe_dump(params), model)


@many
@given(section=st.sampled_from([None, *(s for s in PARAMS if isinstance(PARAMS[s], dict))]), key=words)
def test_an_extra_key_is_named(tmp_path: Path, section: str | None, key: str) -> None:
    params = copy.deepcopy(PARAMS)
    target = params if section is None else params[section]
    if key in target:
        return
    target[key] = 1
    models = list(STAGES.values()) if section is None else readers(section, key)
    for model in models:
        assert f"{key}: unknown parameter" in message(tmp_path, yaml.safe_dump(params), model)


@many
@given(text=st.text(max_size=200))
def test_any_text_is_one_line(tmp_path: Path, text: str) -> None:
    assert message(tmp_path, text, STAGES["train_vgg16"])


class AnySeed(Section):
    seed: Any


ODD = [
    word
    for line in (
        ".inf -.inf +.Inf .nan .NaN -.nan 0x1F -0x1f 0o17 0b11 017 08 -017 1_000 1_0.5 1__0 _1 1_ 1e5 1e-05 1.e5 .5e3",
        ".5e+3 1e1_0 1_e5 +1 -0 1e999 2026-11-25 2026-1-2 2026-13-45 0001-01-01 1:30 190:20:30 1:30.5 yes no on off",
        "y n ~ null NULL true True tRue = << 0.1.2 1,000 inf nan 0x 0xg 0X1F 0O17 1.5_0 ._5 _.5 . .. - + 1.. 0x1.8p3",
        "0B1 é ١ !!int !!str '3' \"0x10\" @x %x ` * & | > [ { ? # , : ! 2026-11-25T10:00:00",
    )
    for word in line.split()
]


def dvc_value(text: str) -> Any:
    """What DVC reads; an instance of Exception when it refuses."""
    try:
        return parse_yaml(text, "params.yaml")["seed"]
    except (ParseError, ValueError, KeyError, TypeError, OverflowError, NotImplementedError) as error:
        return error


def assert_as_dvc(folder: Path, scalar: str) -> None:
    path = folder / "params.yaml"
    path.write_text(f"seed: {scalar}\n", encoding="utf-8")
    try:
        value = load(AnySeed, path).seed
    except InputError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        return
    expected = dvc_value(f"seed: {scalar}\n")
    if isinstance(value, datetime):  # the names of time zones differ
        value, expected = value.isoformat(), expected.isoformat()
    assert (type(value), repr(value)) == (type(expected), repr(expected)), scalar


@pytest.mark.parametrize("scalar", ODD)
def test_odd_values_are_read_as_dvc_reads_them_or_refused(tmp_path: Path, scalar: str) -> None:
    assert_as_dvc(tmp_path, scalar)


@many
@given(scalar=st.text("0123456789_.+-eExXoObBinfaNTZ: yYtrueFALS=<~!", max_size=12))
def test_any_value_is_read_as_dvc_reads_it_or_refused(tmp_path: Path, scalar: str) -> None:
    assert_as_dvc(tmp_path, scalar)


@pytest.mark.parametrize("text", ["%YAML 1.1\n---\nseed: 1\n", "seed: 1\n---\nseed: 2\n"])
def test_what_only_one_of_both_parsers_accepts_is_refused(tmp_path: Path, text: str) -> None:
    assert "not valid YAML" in message(tmp_path, text, AnySeed)
