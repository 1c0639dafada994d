"""A folder with results: a command removes only what it made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import experiment, results
from scripts.results import LIST, replace, written
from src.base.errors import InputError


def content(folder: Path) -> dict[str, bytes]:
    """Each file but the list."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if name != LIST}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"], check=True
    )


def test_new_results_take_the_place_of_old_ones_and_other_files_stay() -> None:
    folder = Path("a", "demo")
    replace(folder, {"metrics.json": b"1", "evaluate/old/picture.png": bytes(range(256))})
    (folder / "notes.txt").write_bytes(b"mine")
    (folder / "evaluate" / "mine.txt").write_bytes(b"mine")
    new = {"metrics.json": b"2", "new/x": b""}
    replace(folder, new)
    assert content(folder) == new | {"notes.txt": b"mine", "evaluate/mine.txt": b"mine"}
    assert not (folder / "evaluate" / "old").exists()
    assert written(folder) == set(new)


@pytest.mark.parametrize(
    "kind", ["file", "folder", "dangling link", "link to files", "damaged", "no list", "dangling above"]
)
def test_what_somebody_else_made_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"precious")
    if kind == "file":
        folder.write_bytes(b"precious")
    elif kind == "folder":
        precious.rename(folder)
    elif kind == "dangling link":
        folder.symlink_to(tmp_path / "nothing")
    elif kind == "link to files":
        folder.symlink_to(precious)
    elif kind == "dangling above":
        (tmp_path / "link").symlink_to(tmp_path / "nothing")
        folder = tmp_path / "link" / "x"
    else:
        folder.mkdir()
        (folder / LIST).write_text("{" if kind == "damaged" else "[]", encoding="utf-8")
    before = sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match="name another"):
        experiment.check_folder(folder)
    assert sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", [".", "..", "src", "results", "results/new", "src/base/x", ".git", ".git/x", "./src/../src"]
)
def test_the_folders_of_the_project_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    for file in ("src/base/a.py", "results/a.json", "a[b]/c"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text("", encoding="utf-8")
    monkeypatch.chdir(project)
    for command in ("init", "add"):
        subprocess.run(["git", command, "."], check=True)
    for allowed in ("demo", "experiments/demo", "../outside", "b"):
        experiment.check_folder(Path(allowed))
    for each in (Path(name), Path(name).absolute()):
        with pytest.raises(InputError, match="name another"):
            experiment.check_folder(each)


def test_the_folder_is_checked_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "preset").write_text("seed=1\n", encoding="utf-8")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").write_bytes(b"precious")
    result = subprocess.run(
        [sys.executable, "-m", "scripts.experiment", "preset", "home"],
        env={**os.environ, "PYTHONPATH": str(Path(results.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert list((tmp_path / ".dvc").iterdir()) == []
    assert result.stderr == "error: home: has files that are not results; move them, or name another folder\n"
    assert content(tmp_path / "home") == {"file": b"precious"}


@pytest.mark.parametrize("name", ["{here}/precious", "../precious", "a/../../precious", "link/precious", "", "."])
def test_a_list_cannot_name_other_places(name: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    folder = tmp_path / "demo"
    replace(folder, {"x": b""})
    (folder / "link").symlink_to(tmp_path)
    (folder / LIST).write_text(json.dumps({"files": ["x", name.format(here=tmp_path)]}), encoding="utf-8")
    replace(folder, {"y": b""})
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert content(folder) == {"y": b""}


def test_a_file_that_somebody_put_where_a_result_belongs_stays(tmp_path: Path) -> None:
    replace(Path("demo"), {"x": b"1"})
    Path("demo", "y").write_bytes(b"precious")
    (tmp_path / "elsewhere").mkdir()
    Path("demo", "link").symlink_to(tmp_path / "elsewhere")
    for files in ({"x": b"2", "y": b"2"}, {"x": b"2", "link/y": b"2"}):
        with pytest.raises(InputError, match="not written by an experiment"):
            replace(Path("demo"), files)
    assert content(Path("demo")) == {"x": b"1", "y": b"precious"}
    assert content(tmp_path / "elsewhere") == {}


def test_results_that_were_interrupted_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    replace(Path("demo"), {"a": b"1", "b": b"1"})

    def stop(_path: Path, _content: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            replace(Path("demo"), {"b": b"2", "c": b"2"})
    replace(Path("demo"), {"d": b"3"})
    assert content(Path("demo")) == {"d": b"3"}


def test_a_link_to_a_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    Path("demo").symlink_to(tmp_path / "disk")
    for value in (b"1", b"2"):
        experiment.check_folder(Path("demo"))
        replace(Path("demo"), {"x": value})
        assert Path("demo").is_symlink()
        assert content(tmp_path / "disk") == {"x": value}


def test_clean_removes_what_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("demo", "experiments/a", "experiments/b"):
        replace(Path(folder), {"x/y": b""})
    Path("experiments", "b", "mine").write_bytes(b"")
    Path("experiments", "other").mkdir()
    monkeypatch.setattr(sys, "argv", ["results", "demo", *map(str, Path("experiments").iterdir()), "missing/*"])
    results.main()
    left = sorted(map(str, Path("experiments").rglob("*")))
    assert left == ["experiments/b", "experiments/b/mine", "experiments/other"]
    assert not Path("demo").exists()
