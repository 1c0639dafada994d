"""Atomic writes and locks: a file is complete or absent, and has one writer at a time."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.base.errors import InputError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. On success, sync that file to disk and rename it to `path`.

    On any exception the temporary file is removed and `path` keeps its content. A missing folder is created.
    The temporary name contains the process id, so two processes never write to the same temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the output `path`: no other process of this machine that uses `locked` writes it.

    DVC has a lock of its own. This one also holds when DVC was killed and its stage is still running.

    Raises:
        InputError: another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), blocking=False):
            yield
    except Timeout:
        raise InputError(
            f"{path}: another process is still writing it; wait for that process, or stop it, then try again"
        ) from None


def sync(path: Path) -> None:
    """Wait until the content of a file, or the entries of a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table as comma-separated UTF-8 text, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())
