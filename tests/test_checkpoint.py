"""Which run a training state belongs to."""

from pathlib import Path

import pytest
import torch

from src.checkpoint import Checkpoint
from src.errors import InputError


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "data").write_bytes(b"data")


def checkpoint(folder: Path, stage: str = "train", setting: str = "lr 1") -> Checkpoint:
    return Checkpoint(stage, (setting,), (folder / "data",))


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


def test_other_code_has_another_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint(tmp_path).path
    changed = tmp_path / "training.py"
    changed.write_text("# changed")
    import src.training

    monkeypatch.setattr(src.training, "__file__", str(changed))
    assert checkpoint(tmp_path).path != before


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


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    state = checkpoint(tmp_path)
    state.folder.mkdir(parents=True)
    torch.save({"x": Hostile()}, state.path)
    with pytest.raises(InputError, match=r"no training state .* remove it to start again"):
        state.load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", [0, 1, 1000, -1])
def test_a_damaged_state_is_one_line(tmp_path: Path, damage: int) -> None:
    state = checkpoint(tmp_path)
    state.save({"weights": torch.randn(1000)})
    state.path.write_bytes(state.path.read_bytes()[:damage])
    with pytest.raises(InputError, match="no training state") as error:
        state.load()
    assert "\n" not in str(error.value)
