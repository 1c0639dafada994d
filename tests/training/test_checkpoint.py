"""Which run a training state belongs to."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from src.base.errors import InputError
from src.training import checkpoint as module
from src.training.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "data").write_bytes(b"data")


def checkpoint(folder: Path, stage: str = "train", setting: str = "lr 1") -> Checkpoint:
    return Checkpoint(stage, {"optimizer.lr": setting}, (folder / "data",))


def test_a_state_comes_back(tmp_path: Path) -> None:
    state = {"weights": torch.randn(3), "history": [{"loss": 1.5}], "none": None}
    checkpoint(tmp_path).save(state)
    back = checkpoint(tmp_path).load()
    assert back is not None
    assert torch.equal(back.pop("weights"), state.pop("weights"))  # type: ignore[arg-type]
    assert back == state
    assert checkpoint(tmp_path).path.is_relative_to(tmp_path / ".checkpoints")


def test_other_settings_inputs_and_stages_have_other_states(tmp_path: Path) -> None:
    checkpoint(tmp_path).save({})
    assert checkpoint(tmp_path, setting="lr 2").load() is None
    assert checkpoint(tmp_path, stage="other").load() is None
    (tmp_path / "data").write_bytes(b"Data")
    assert checkpoint(tmp_path).load() is None


@pytest.fixture
def module_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as the code of an imported module."""
    file = tmp_path / "training.py"
    file.write_text('"""What."""\n\ndef f():\n    """Why."""\n    return 1  # a comment\n')
    import src.training.loop

    monkeypatch.setattr(src.training.loop, "__file__", str(file))
    return file


def test_other_code_has_another_state(tmp_path: Path, module_file: Path) -> None:
    before = checkpoint(tmp_path).path
    module_file.write_text(module_file.read_text().replace("return 1", "return 2"))
    assert checkpoint(tmp_path).path != before


def test_comments_docstrings_and_layout_do_not_count(tmp_path: Path, module_file: Path) -> None:
    before = checkpoint(tmp_path).path
    module_file.write_text('"""Another text."""\ndef f():\n    """More."""\n\n    return (1)\n')
    assert checkpoint(tmp_path).path == before


def test_another_pytorch_has_another_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint(tmp_path).path
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert checkpoint(tmp_path).path != before


def test_nothing_is_left_when_a_run_is_through(tmp_path: Path) -> None:
    state = checkpoint(tmp_path)
    state.remove()  # also when there was none
    state.save({})
    (state.folder / ".state.pt.1.tmp").touch()  # a process was killed while it wrote
    state.remove()
    assert list((tmp_path / ".checkpoints").iterdir()) == []
    assert state.load() is None


def test_of_two_processes_at_one_run_the_first_writes(tmp_path: Path) -> None:
    first, second = checkpoint(tmp_path), checkpoint(tmp_path)
    assert first.save({"epoch": 1})
    assert not second.save({"epoch": 2})
    assert second.load() == {"epoch": 1}
    second.remove()  # through, and the first one is still at it
    assert first.load() == {"epoch": 1}
    first.remove()
    assert second.save({"epoch": 3})
    assert first.load() == {"epoch": 3}


def test_the_other_one_writes_when_the_first_is_killed(tmp_path: Path) -> None:
    run = checkpoint(tmp_path)
    run.folder.mkdir(parents=True)
    code = "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-uc", code, str(run.folder / "lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert not run.save({})
        process.kill()
    assert run.save({})


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    run = checkpoint(tmp_path)
    assert run.save({"epoch": 1})
    (run.folder / ".state.pt.1.tmp").write_bytes(b"half")
    assert run.load() == {"epoch": 1}
    assert sorted(path.name for path in run.folder.iterdir()) == ["lock", "run.json", "state.pt"]


def states(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob(".checkpoints/*/state.pt")}


def given_up(folder: Path, **kwargs: str) -> str:
    """Save the state of a run whose process then ends; the name of its folder."""
    run = checkpoint(folder, **kwargs)
    run.save({})
    run._lock.release()
    return run.folder.name


def test_a_state_that_cannot_be_used_is_kept_and_named(
    tmp_path: Path, module_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Days of training may be in it: the line says what to change back."""
    folder = given_up(tmp_path)
    code = module_file.read_text()
    module_file.write_text(code.replace("return 1", "return 2"))
    assert checkpoint(tmp_path).load() is None
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("train: starts from the beginning; the state in ")
    assert f"{folder} is of a run that differs in training.py; it is kept until 20" in line
    assert states(tmp_path) == {folder}
    module_file.write_text(code)
    assert checkpoint(tmp_path).load() == {}
    assert capsys.readouterr().err == ""


def test_what_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    given_up(tmp_path, setting="lr 2")
    monkeypatch.setattr(torch, "__version__", "0.0")
    given_up(tmp_path, setting="lr 3")  # differs in one thing more
    monkeypatch.undo()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    checkpoint(tmp_path).load()
    assert "differs in optimizer.lr; it is kept" in capsys.readouterr().err
    (tmp_path / "data").write_bytes(b"other")
    checkpoint(tmp_path).load()
    assert f"differs in {tmp_path / 'data'}, optimizer.lr; it is kept" in capsys.readouterr().err


def test_a_first_run_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_up(tmp_path, stage="another")
    (tmp_path / ".checkpoints" / "train-0123").mkdir()  # without a state
    assert checkpoint(tmp_path).load() is None
    assert capsys.readouterr().err == ""


def test_states_of_other_runs_are_kept_for_a_week(tmp_path: Path) -> None:
    fresh, old = given_up(tmp_path, setting="lr 2"), given_up(tmp_path, setting="lr 3")
    week = time.time() - module.KEPT
    os.utime(tmp_path / ".checkpoints" / fresh, (week + 60, week + 60))
    os.utime(tmp_path / ".checkpoints" / old, (week - 60, week - 60))
    checkpoint(tmp_path).load()
    assert states(tmp_path) == {fresh}


def test_a_state_that_another_process_removes_just_now(tmp_path: Path) -> None:
    gone = tmp_path / ".checkpoints" / f"{checkpoint(tmp_path).folder.name}-gone"
    gone.parent.mkdir()
    gone.symlink_to("nowhere")  # listed, and not there when it is looked at
    assert checkpoint(tmp_path).load() is None


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes nothing; PyTorch reports that as a RuntimeError without a reason."""
    run = checkpoint(tmp_path)
    run.save({"epoch": 1})
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, path: save(state, "/dev/full"))
    with pytest.raises(InputError, match=r"state.pt: cannot be written, is the disk full\?") as error:
        run.save({"epoch": 2, "weights": torch.randn(1_000_000)})
    assert "\n" not in str(error.value)
    assert run.load() == {"epoch": 1}
    assert sorted(path.name for path in run.folder.iterdir()) == ["lock", "run.json", "state.pt"]


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    state = checkpoint(tmp_path)
    state.folder.mkdir(parents=True)
    torch.save({"x": Hostile()}, state.path)
    with pytest.raises(InputError, match=r"not a training state .* remove it to start again"):
        state.load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", [0, 1, 1000, -1])
def test_a_damaged_state_is_one_line(tmp_path: Path, damage: int) -> None:
    state = checkpoint(tmp_path)
    state.save({"weights": torch.randn(1000)})
    state.path.write_bytes(state.path.read_bytes()[:damage])
    with pytest.raises(InputError, match="not a training state") as error:
        state.load()
    assert "\n" not in str(error.value)


def test_what_the_project_did_not_make_is_kept_and_what_it_removes_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = given_up(tmp_path, setting="lr 3")
    mine = [tmp_path / ".checkpoints" / name for name in (f"{old}.bak", "train-notes", "train-0123.tar.gz")]
    for folder in mine:
        folder.mkdir()
    week = time.time() - module.KEPT - 60
    for folder in (*mine, tmp_path / ".checkpoints" / old):
        os.utime(folder, (week, week))
    checkpoint(tmp_path).load()
    assert all(folder.exists() for folder in mine)
    assert f"{old}, a state that is older than a week" in capsys.readouterr().err
    assert states(tmp_path) == set()


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"5", b"\xff\xfe", b"[" * 100_000, None])
def test_a_state_of_an_unknown_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """As of an earlier version of the project, which wrote no run.json."""
    file = tmp_path / ".checkpoints" / given_up(tmp_path, setting="lr 2") / "run.json"
    file.unlink() if content is None else file.write_bytes(content)
    assert checkpoint(tmp_path).load() is None
    assert "differs in the version of this project; it is kept until 20" in capsys.readouterr().err
