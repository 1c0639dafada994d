"""Atomic writes and locks: a file is complete or absent, and has one writer at a time. Every OSError names a path."""

import csv
import errno
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from src.base.errors import InputError
from src.base.messages import say

_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""Errors of fsync and close that mean that bytes did not reach the disk."""


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name `path` in an OSError that names no file, such as those of read, write and fsync."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = error.filename or str(path)
        elif str(path) not in str(error):
            error.args = (f"{path}: {error}",)
        raise


def make_folder(path: Path) -> None:
    """Create a folder and its parent folders. If the folder exists, do nothing. A link to a folder counts as a folder.

    Raises:
        InputError: something else has the name, or a link leads to a folder that does not exist. The folder is not
            created there: the link may lead to a disk that is not mounted.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        place = Path(error.filename)
        if place.is_symlink() and not place.exists():
            problem = f"a link to {place.readlink()}, which does not exist; create that folder or mount its disk"
        else:
            problem = "a folder is needed here, but a file is in the way; move the file or name another folder"
        raise InputError(f"{place}: {problem}") from None


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. On success, sync that file to disk and rename it to `path`.

    On any exception the temporary file is removed and `path` keeps its content. A missing folder is created.
    The temporary name contains the process id, so two processes never write to the same temporary file.

    Raises:
        InputError: the folder cannot be made, as in `make_folder`.
        OSError: the file cannot be written. The error always names a path.
    """
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with named(path):
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            with suppress(OSError):  # the first exception says what is wrong
                temporary.unlink(missing_ok=True)
            raise


class Lock:
    """A lock file, which one process at a time can have. Processes of the same machine are kept out, threads are not.

    Some network shares have no locks. There the work goes on without a lock, and one line on stderr says so. This is
    safe for a single process: the lock only keeps out a second process that was started by mistake. Each file is
    written atomically in any case.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path, fallback_to_soft=False)  # a soft lock stays behind when its process is killed
        self._unsupported = False

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock, if this process does not have it yet.

        Returns:
            whether the work may begin. False means that another process has the lock; with `wait` this cannot happen.

        Raises:
            OSError: the lock file cannot be created.
        """
        if self._lock.is_locked or self._unsupported:
            return True
        try:
            self._lock.acquire(blocking=wait)
        except Timeout:
            return False
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:  # of opening the file, not of locking it
                raise
            self._unsupported = True
            reason = getattr(error, "strerror", None) or error
            say(f"{self.path}: cannot be locked here ({reason}); do not start the same work twice")
        return True

    def release(self) -> None:
        self._lock.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the output `path`. Another process of this machine that asks for this lock is refused.

    DVC has a lock of its own. This lock also works when DVC was killed and its stage is still running. On a file system
    without locks, `path` is written without one (see `Lock`).

    Raises:
        InputError: another process holds the lock.
    """
    make_folder(path.parent)
    lock = Lock(path.parent / f".{path.name}.lock")
    if not lock.acquire():
        raise InputError(
            f"{path}: another process is still writing it; wait for that process, or stop it, then try again"
        )
    try:
        yield
    finally:
        lock.release()


def sync(path: Path) -> None:
    """Wait until the content of a file, or the entries of a folder, are on disk, where the file system can do that.

    Some network shares and read-only mounts cannot open or sync a folder or a file. These errors are ignored. The
    file is complete, but a power failure can undo the writing.

    Raises:
        OSError: the disk is full or broken.
    """
    with named(path):
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _LOST:
                raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table as comma-separated UTF-8 text, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())
