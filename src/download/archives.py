"""The files in a tar archive, a zip archive or a folder, read one at a time.

Members are read, but never extracted: no name in an archive becomes a path on the disk. The code does not trust the
sizes that an archive states. The caller sets the largest number of bytes to read from each file.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from src.base.files import named
from src.base.messages import one_line

LIMIT = 1_000_000_000
"""Bytes of an unpacked tar archive. CIFAR-10 has 184 MB."""
HEADERS = 100_000
"""Bytes that tarfile may read from one member to the next, beside the content of a wanted member."""
MEMBERS = 10_000
"""Members of a tar archive. CIFAR-10 has 8."""
CHUNK = 4096
"""Bytes that are read at a time: few, because in a zip archive 4 kB can become 80 MB."""

_OPENERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x5d\0\0": lzma.open,
}
"""What opens a compressed file, by its first bytes. These are all compressions that tarfile reads in Python 3.11."""


class SourceError(Exception):
    """A source does not have CIFAR-10. The message is only the reason, in one line: parts of it come from outside."""

    def __init__(self, reason: object) -> None:
        super().__init__(one_line(reason))


def is_html(content: bytes) -> bool:
    return content[:1000].lstrip().lower().startswith((b"<!doctype", b"<html"))


def members(source: Path, versions: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, bytes]]:
    """The name, without folders, and the content of each wanted file. Others, such as a README, are skipped.

    Args:
        source: a tar archive with any compression or without one, a zip archive, or a folder. The files of an archive
            can lie in any folders. In a folder they lie side by side, in the folder itself or one level below it.
        versions: the wanted files of each version: the largest possible size in bytes, by name. From a folder only one
            version is read, the most complete one.

    Raises:
        SourceError: the archive is damaged. Or a member is too large, is no regular file, or has a name that leads out.
        OSError: the source cannot be opened.
    """
    if source.is_dir():
        yield from _folder_members(source, versions)
        return
    limits = {name: size for version in versions for name, size in version.items()}
    with named(source), source.open("rb") as file:
        head = file.read(1000)
    if is_html(head):
        raise SourceError("an HTML page instead of the archive")
    try:
        yield from (_zip_members if head.startswith(b"PK\3\4") else _tar_members)(source, head, limits)
    except (SourceError, MemoryError):
        raise
    except Exception as error:  # damaged archives raise exceptions of every kind
        reason = one_line(error) or type(error).__name__
        raise SourceError(f"damaged, or neither a tar nor a zip archive: {reason}") from None


def _folder_members(folder: Path, versions: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, bytes]]:
    def files(version: Mapping[str, int], place: Path) -> list[Path]:
        return [place / name for name in version if _is_file(place / name)]

    places = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    lacking = [(len(version) - len(files(version, place)), version, place) for version in versions for place in places]
    _, version, place = min(lacking, key=lambda entry: entry[0])
    for path in files(version, place):
        with named(path), path.open("rb") as file:
            yield path.name, _read(file, path.name, version)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that this user may not enter
        return False


def _zip_members(archive: Path, _head: bytes, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as unpacked:
        for member in unpacked.infolist():
            if name := _wanted(member.filename, limits):
                if member.is_dir():
                    raise _irregular(member.filename)
                with unpacked.open(member) as file:
                    yield name, _read(file, name, limits)


def _tar_members(archive: Path, head: bytes, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    opener = next((opener for start, opener in _OPENERS.items() if head.startswith(start)), open)
    with opener(archive, "rb") as unpacked:
        bounded = _Bounded(unpacked)
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for count, member in enumerate(tar):
                if count == MEMBERS:
                    raise SourceError(f"holds more than {MEMBERS:,} files, far more than CIFAR-10")
                if name := _wanted(member.name, limits):
                    file = tar.extractfile(member) if member.isreg() else None
                    if file is None:
                        raise _irregular(member.name)
                    bounded.left = limits[name] + HEADERS
                    yield name, _read(file, name, limits)
                bounded.left = HEADERS


class _Bounded(io.RawIOBase):
    """An unpacked archive for tarfile, which believes all sizes. A small file can unpack to terabytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left = HEADERS
        """How many bytes may be read. Those that are skipped do not count."""

    def read(self, size: int = -1) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise SourceError("damaged: a header states more bytes than the archive of CIFAR-10 has")
        return self._file.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if position < self.tell() or whence != io.SEEK_SET:
            raise SourceError("damaged: a header points to an earlier place in the archive")
        if position > LIMIT:
            raise SourceError(f"holds more than {LIMIT:,} bytes, far more than CIFAR-10")
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def _wanted(member: str, names: Collection[str]) -> str:
    """The name of a member without its folders, if it is wanted, else an empty text."""
    path = PurePosixPath(member.replace("\\", "/"))  # some programs for Windows write backslashes into zip archives
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{one_line(member)}: leads out of the archive")
    return path.name if path.name in names else ""


def _irregular(member: str) -> SourceError:
    return SourceError(f"{one_line(member)}: is no regular file")


def _read(file: IO[bytes], name: str, limits: Mapping[str, int]) -> bytes:
    """The content, whatever size the archive states for it."""
    content = bytearray()
    while chunk := file.read(CHUNK):
        content += chunk
        if len(content) > limits[name]:
            raise SourceError(f"{name}: more than {limits[name]:,} bytes, too many for CIFAR-10")
    return bytes(content)
