"""Locks and atomic writes, also where the file system lacks something."""

import errno
import fcntl
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from src.base.errors import InputError
from src.base.files import Lock, atomic_write, locked, make_folder, named, sync, write_csv, write_text


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


UNSUPPORTED = ["EINVAL", "ENOTSUP", "ENOSYS", "EROFS", "EBADF", "EACCES", "EPERM", "ENOTTY", "EISDIR"]
LOST = ["EIO", "ENOSPC", "EDQUOT"]


def failing(code: str) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    return fail


@pytest.mark.parametrize("code", UNSUPPORTED)
def test_a_file_system_that_cannot_sync_stops_nothing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code))
    write_text(tmp_path / "folder" / "file", "text")
    assert (tmp_path / "folder" / "file").read_text() == "text"


@pytest.mark.parametrize("code", UNSUPPORTED)
def test_a_folder_that_cannot_be_opened_stops_nothing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = os.open

    def refuse(path: Path, flags: int) -> int:
        return failing(code)() if path.is_dir() else open_(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize("code", LOST)
def test_what_did_not_reach_the_disk_is_an_error_with_a_path(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", failing(code))
    for work in (lambda: write_text(path, "text"), lambda: sync(path)):
        with pytest.raises(OSError, match=rf"^\[Errno \d+\] .*: '{tmp_path}/.*file") as error:
            work()
        assert error.value.errno == getattr(errno, code)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def small_files() -> Iterator[None]:
    """No file may become longer than 4 kB: a write fails half-way, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(100_000)),
        lambda path: path.write_text("text" * 100_000),
        lambda path: np.zeros(100_000).tofile(path),
        lambda path: np.savetxt(path, np.zeros(100_000)),
    ],
    ids=["bytes", "text", "tofile", "savetxt"],
)
def test_a_write_that_fails_names_its_path(write: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_text(path, "before")

    def work() -> None:
        with atomic_write(path) as temporary:
            write(temporary)

    with small_files(), pytest.raises(OSError, match=re.escape(str(tmp_path))) as error:
        work()
    assert len(str(error.value).splitlines()) == 1
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "a" * 250, "file/x", "file/x/y", "."])
def test_a_place_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    for work in (lambda: write_text(tmp_path / name, "text"), lambda: write_text(Path(f"{tmp_path}/{name}"), "")):
        with pytest.raises((OSError, InputError)) as error:
            work()
        assert str(tmp_path) in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_only_errors_without_a_path_get_one() -> None:
    path = Path("ours")

    def raised(error: OSError) -> str:
        with pytest.raises(type(error)) as caught, named(path):
            raise error
        assert caught.value is error
        return str(error)

    assert raised(OSError(22, "Invalid argument")) == "[Errno 22] Invalid argument: 'ours'"
    assert raised(OSError(22, "Invalid argument", "theirs")) == "[Errno 22] Invalid argument: 'theirs'"
    assert raised(OSError("62 requested and 0 written")) == "ours: 62 requested and 0 written"
    assert raised(OSError("ours cannot be written")) == "ours cannot be written"
    with pytest.raises(KeyError, match="x"), named(path):
        raise KeyError("x")


@pytest.mark.parametrize("code", ["ENOSYS", "ENOLCK", "ENOTSUP", "EINVAL", "EIO", "EBADF"])
def test_without_locks_the_work_goes_on_with_one_line(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(code))
    path = tmp_path / "results"
    with locked(path):
        write_text(path, "text")
    reason = os.strerror(getattr(errno, code))
    expected = f"{tmp_path}/.results.lock: cannot be locked here ({reason}); do not start the same work twice\n"
    assert capfd.readouterr() == ("", expected)
    lock = Lock(tmp_path / "lock")
    assert [lock.acquire(), lock.acquire(wait=True)] == [True, True]
    lock.release()
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert sorted(file.name for file in tmp_path.iterdir() if "lock" not in file.name) == ["results"]


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OSError, match=f"'{tmp_path}/file/?"):
        Lock(tmp_path / "file" / "lock").acquire()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A lock that stayed behind would keep everyone out."""
    take = f"from pathlib import Path; from src.base.files import Lock; lock = Lock(Path({str(tmp_path / 'lock')!r}))"
    code = f"{take}; assert lock.acquire(); print('taken', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        lock = Lock(tmp_path / "lock")
        assert not lock.acquire()
        process.kill()
        process.wait()
        assert lock.acquire(wait=True)
        lock.release()


def test_links_to_another_disk_stay(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "models").symlink_to(tmp_path / "disk")
    with (
        locked(tmp_path / "models" / "deep" / "file"),
        atomic_write(tmp_path / "models" / "deep" / "file") as temporary,
    ):
        torch.save({"a": 1}, temporary)
    assert (tmp_path / "models").is_symlink()
    assert (tmp_path / "disk" / "deep" / "file").stat().st_size > 0


@pytest.mark.parametrize("below", ["file", "deep/er/file"])
def test_a_link_to_nowhere_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(tmp_path / "disk")
    with pytest.raises(
        InputError, match=f"^{tmp_path}/models: a link to {tmp_path}/disk, which does not exist; create"
    ):
        write_text(tmp_path / "models" / below, "text")
    assert not (tmp_path / "disk").exists()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match=f"^{tmp_path}/circle: a link to {tmp_path}/circle, which does not exist"):
        make_folder(tmp_path / "circle")


@pytest.mark.parametrize("name", ["data", "models", "demo", "experiments", ".venv", ".checkpoints"])
def test_git_ignores_links_to_another_disk_too(name: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".gitignore").write_bytes(Path(".gitignore").read_bytes())
    (project / name).symlink_to(tmp_path)

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    assert git("status", "--porcelain") == "?? .gitignore\n"
