"""Locks and atomic writes."""

from pathlib import Path

import pytest

from src.base.errors import InputError
from src.base.files import atomic_write, locked, write_csv


def test_an_output_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "results" / "train"
    with (
        locked(path),
        pytest.raises(
            InputError, match="train: another process is still writing it; wait for that process, or stop it"
        ),
        locked(path),
    ):
        pass
    with locked(path):
        pass


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_csv(path, [("a", "b"), (1, 2)])

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "a,b\n1,2\n"
    assert list(path.parent.iterdir()) == [path]
