"""Whatever is done to one value of params.yaml: a stage that reads it ends in one line that names the key."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import cli
from src.params import Part, load
from tests.test_params import DEFAULTS, STAGES

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


many = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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
