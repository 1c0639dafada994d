"""Presets as arguments of an experiment; tests/test_pipeline.py runs one."""

import subprocess
from pathlib import Path

import pytest

from scripts.experiment import read_preset, table, unpack
from src.errors import InputError


def test_settings_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "preset"
    path.write_text("# why\n\ninit=none\n  optimizer.lr=1e-3 \n", encoding="utf-8")
    assert read_preset(path) == ["init=none", "optimizer.lr=1e-3"]


@pytest.mark.parametrize("line", ["init", "init: none", "init = none", "init=none # why"])
def test_lines_that_are_no_setting(tmp_path: Path, line: str) -> None:
    path = tmp_path / "preset"
    path.write_text(f"seed=1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected key=value"):
        read_preset(path)


def test_a_missing_preset_lists_the_others() -> None:
    with pytest.raises(InputError, match=r"presets/none: no such preset; there are: presets/cpu presets/demo"):
        read_preset(Path("presets/none"))


def test_scores_as_a_table(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"vgg11": {"accuracy": 0.5, "loss": 1.23456}}', encoding="utf-8")
    assert table(tmp_path / "metrics.json").splitlines() == [
        "| test | accuracy | loss |",
        "| --- | ---: | ---: |",
        "| vgg11 | 0.5000 | 1.2346 |",
    ]


def test_results_replace_what_was_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"metrics.json": b"{}\n", "evaluate/vgg16/picture.png": bytes(range(256))}
    for name, content in files.items():
        Path("results", name).parent.mkdir(parents=True, exist_ok=True)
        Path("results", name).write_bytes(content)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "results"]):
        subprocess.run([*git, *arguments], check=True)
    folder = tmp_path / "experiments" / "demo"
    folder.mkdir(parents=True)
    (folder / "old").write_text("of an earlier run", encoding="utf-8")
    unpack("HEAD", folder)
    written = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert written == files
