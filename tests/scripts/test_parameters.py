"""The settings of presets, and the values of params.yaml as experiments compare them."""

import re
from pathlib import Path

import pytest

from scripts.parameters import parameters, read_preset
from src.base.errors import InputError


@pytest.mark.parametrize("text", [b"seed", b"- seed", b"1: x", b"a: [", b""])
def test_what_is_no_params_yaml(text: bytes) -> None:
    with pytest.raises(InputError, match=r"^params.yaml: not valid: .+"):
        parameters(text)


def test_settings_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "preset"
    path.write_text("# why\n\ninit=none\n  optimizer.lr=1e-3 \n", encoding="utf-8")
    assert read_preset(path) == ["init=none", "optimizer.lr=1e-3"]


@pytest.mark.parametrize("line", ["init", "init: none", "init = none", "init=none # why", "a:b=1", "++init=none"])
def test_lines_that_are_no_setting(tmp_path: Path, line: str) -> None:
    path = tmp_path / "preset"
    path.write_text(f"seed=1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected key=value"):
        read_preset(path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        *((f"init={value}", "DVC cannot read it; put the value in quotes") for value in ("é", "a=b", "!x", '"a', "[1")),
        ("init=none,normal", r"expected one value; a list has brackets: key=\[1,2\]"),
    ],
)
def test_settings_that_dvc_cannot_read(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "preset"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: {re.escape(repr(line))}: {problem}"):
        read_preset(path)


def test_quoted_settings(tmp_path: Path) -> None:
    path = tmp_path / "preset"
    path.write_text("init='é=!x'\nsizes=[1,2]\n", encoding="utf-8")
    assert read_preset(path) == ["init='é=!x'", "sizes=[1,2]"]


@pytest.mark.parametrize("path", ["presets/none", "none"])
def test_a_missing_preset_lists_those_of_the_project(path: str) -> None:
    with pytest.raises(
        InputError, match=rf"^{path}: no such preset; there are: presets/best presets/demo presets/lrn "
    ):
        read_preset(Path(path))


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    """DVC would take the last."""
    path = tmp_path / "preset"
    path.write_text("seed=1\ninit=none\nseed=2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"preset: seed: twice; keep one$"):
        read_preset(path)


@pytest.mark.parametrize("content", [b"seed=\xff", b"\xff\xfe\0s"])
def test_a_preset_that_is_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "preset").write_bytes(content)
    with pytest.raises(InputError, match="preset: not a text in UTF-8; a preset has one key=value a line"):
        read_preset(tmp_path / "preset")


def test_a_preset_from_windows(tmp_path: Path) -> None:
    (tmp_path / "preset").write_bytes(b"\xef\xbb\xbfseed=1\r\ninit=none\r\n")
    assert read_preset(tmp_path / "preset") == ["seed=1", "init=none"]
