"""The content of an archive of CIFAR-10, checked, as records of the binary version (records.py).

There are two archives with the same 60,000 records: the binary version, and the Python version, whose batches are
pickles (https://www.cs.toronto.edu/~kriz/cifar.html). An archive is accepted by its SHA-256 alone, wherever it comes
from. Only the records that were read from an archive are written to disk.
"""

import hashlib
import io
import lzma
import pickle
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from src.base.errors import InputError
from src.download.records import CLASSES_FILE, RECORD_BYTES, RECORDS, TEST_FILE, TRAIN_FILES

FILES = (*TRAIN_FILES, TEST_FILE, CLASSES_FILE)
PICKLES = {Path(file).stem: file for file in FILES}
"""The Python version's members, and the files that they become."""
MEMBERS = {"cifar-10-batches-bin": FILES, "cifar-10-batches-py": tuple(PICKLES)}
"""The members of both versions, by their folder in the archive."""

_OFFICIAL = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    "batches.meta.txt": "0bd38742f1e9325cbd6717d686c45e107fea48dd",
}
CONTENT: Mapping[str, Mapping[str, str]] = {
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd": _OFFICIAL,
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce": _OFFICIAL,
    "cc73ee9f2412dc8184db8a66d18669a7c229e8d50168e77efbab7bdb9c42c2c0": {
        "data_batch_1.bin": "ba2bd1d9f68920320dc7f67b610c3ff1703ce639",
        "data_batch_2.bin": "12ba17f929eb995e7d991f3b454987ae9aaa87a0",
        "data_batch_3.bin": "61e1528be52a32089627241696c8b1c09f11d551",
        "data_batch_4.bin": "60f7ad4c1ea751a6905e7a79aec2b3c8e502aae7",
        "data_batch_5.bin": "aa5071697cd0ae5341438cc9ccfec1999c0db1e4",
        "test_batch.bin": "6219c93725ec548fca3af9d12c5fd0584d2a1a2a",
        "batches.meta.txt": "0bd38742f1e9325cbd6717d686c45e107fea48dd",
    },
}
"""By the SHA-256 of each known archive: the SHA-1 of every file that is written from it."""


class SourceError(Exception):
    """A source does not have an accepted archive. The message is only the reason."""


def verified(archive: Path, accepted: Sequence[str]) -> str:
    """The SHA-256 of an accepted archive.

    Raises:
        SourceError: it is not accepted.
    """
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in accepted:
            return digest
        file.seek(0)
        if is_html(file.read(1000)):
            raise SourceError("an HTML page instead of the archive")
    raise SourceError(f"sha256 {digest} is not among those that dataset.sha256 in params.yaml accepts")


def is_html(content: bytes) -> bool:
    return content[:1000].lstrip().lower().startswith((b"<!doctype", b"<html"))


def archive_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The name and content of each member of the binary or the Python version. Others, such as a README, are skipped.

    Members are read, never extracted: no name in the archive becomes a path on the disk.

    Raises:
        InputError: the archive is damaged, or a member is named outside of it, is no regular file, or is too large.
    """
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(f"{archive}: {member.name}: leads out of the archive; use another archive")
                if path.name in MEMBERS.get(str(path.parent), ()):
                    content = tar.extractfile(member) if member.isreg() else None
                    if content is None:
                        raise InputError(f"{archive}: {member.name}: is no regular file; use another archive")
                    _refuse_large(path.name, member.size, source=archive)
                    yield path.name, content.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise InputError(f"{archive}: damaged: {_one_line(error)}; remove it and get it again") from None


def folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The name and content of each member of the binary version in a folder, or else of the Python version."""
    for name in FILES if (folder / TEST_FILE).exists() else PICKLES:
        if (folder / name).is_file():
            _refuse_large(name, (folder / name).stat().st_size, source=folder)
            yield name, (folder / name).read_bytes()


def _refuse_large(name: str, size: int, source: Path) -> None:
    """Refuse a member before it is read into memory. A pickle is larger than its records, but not twice as large."""
    if size > 2 * RECORD_BYTES * RECORDS["cifar10"].get(PICKLES.get(name, name), 1):
        raise InputError(f"{source}: {name}: {size:,} bytes, too many for CIFAR-10; use another source")


def write_members(members: Iterator[tuple[str, bytes]], folder: Path, source: Path) -> dict[str, str]:
    """Write the files of the binary version from the members of either version.

    Returns:
        the SHA-1 of each file.

    Raises:
        InputError: a member is missing, occurs twice, or does not have the form of CIFAR-10.
    """
    written: dict[str, str] = {}
    for name, content in members:
        file = PICKLES.get(name, name)
        try:
            if file in written:
                raise ValueError("is there twice")
            if file == CLASSES_FILE:
                names = _unpickle(content).get(b"label_names") if name in PICKLES else content.split()
                content = classes_content(names)
            else:
                records = RECORDS["cifar10"][file]
                content = _pickled_records(content, records) if name in PICKLES else _checked_records(content, records)
        except ValueError as error:
            raise InputError(f"{source}: {name}: {error}; use another source") from None
        (folder / file).write_bytes(content)
        written[file] = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    missing = [file for file in FILES if file not in written]
    if missing:
        raise InputError(f"{source}: lacks the members for {', '.join(missing)}; use another source")
    return written


def compare(written: Mapping[str, str], accepted: Sequence[str], source: Path) -> None:
    """Raise InputError unless all files, by their SHA-1, are those of one of the accepted archives."""
    known = [CONTENT[archive] for archive in accepted if archive in CONTENT]
    differing = min(
        ([file for file in FILES if written[file] != content[file]] for content in known), key=len, default=FILES
    )
    if differing:
        raise InputError(
            f"{source}: {', '.join(differing)}: not what an archive holds that dataset.sha256 in params.yaml accepts; "
            "use another source"
        )


def _checked_records(content: bytes, records: int) -> bytes:
    if len(content) != records * RECORD_BYTES:
        raise ValueError(f"{len(content):,} bytes, expected {records * RECORD_BYTES:,}")
    if (highest := max(content[::RECORD_BYTES])) > 9:
        raise ValueError(f"a record has label {highest}, expected 0..9")
    return content


def _pickled_records(content: bytes, records: int) -> bytes:
    """A batch of the Python version as records of the binary version: the label goes before its 3,072 pixels."""
    batch = _unpickle(content)
    data, labels = batch.get(b"data"), batch.get(b"labels")
    shape = (records, RECORD_BYTES - 1)
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == shape):
        raise ValueError(f"`data` is no array of uint8 {list(shape)}")
    if not (
        isinstance(labels, list)
        and len(labels) == records
        and all(type(label) is int and 0 <= label <= 9 for label in labels)
    ):
        raise ValueError(f"`labels` is no list of {records} numbers in 0..9")
    return np.column_stack([np.array(labels, dtype=np.uint8), data]).tobytes()


def classes_content(names: object) -> bytes:
    """The file of class names as in the official archive: one name per line, then an empty line."""
    if not (
        isinstance(names, list)
        and len(names) == 10
        and all(isinstance(name, bytes) and name.isascii() for name in names)
        and sorted(set(b" ".join(names).split())) == sorted(names)
    ):
        raise ValueError("expected the names of 10 classes")
    return b"\n".join(names) + b"\n\n"


class _ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays and plain values only: a pickle could otherwise run any program."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
        if (module_name, global_name) not in allowed:
            raise pickle.UnpicklingError(f"asks for {module_name}.{global_name}, which is not allowed")
        return super().find_class(module_name, global_name)


def _unpickle(content: bytes) -> dict[bytes, Any]:
    """Read a member of the Python version. Raises ValueError for anything but a dictionary of arrays and values."""
    try:
        values = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise exceptions of every kind
        raise ValueError(f"cannot be read: {_one_line(error)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"holds a {type(values).__name__}, expected a dictionary")
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
