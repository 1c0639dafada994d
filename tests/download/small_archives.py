"""A small CIFAR-10 with 20 records per file, as archives of the binary and of the Python version."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from src.download.records import CLASSES_FILE, RECORD_BYTES, TEST_FILE, TRAIN_FILES, DatasetParams

NAMES = b"airplane automobile bird cat deer dog frog horse ship truck".split()
COUNT = 20
"""Records in each file."""
BATCHES = (*TRAIN_FILES, TEST_FILE)


def records_of(file: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The records of a file of the binary version, [20, 3073]: noise with all ten labels."""
    generator = np.random.default_rng(BATCHES.index(file))
    records = generator.integers(0, 256, (COUNT, RECORD_BYTES), dtype=np.uint8)
    records[:, 0] = np.arange(COUNT) % 10
    return records


def binary_members() -> dict[str, bytes]:
    return {file: records_of(file).tobytes() for file in BATCHES} | {CLASSES_FILE: b"\n".join(NAMES) + b"\n\n"}


_Pickler: Any = pickle._Pickler  # the implementation in Python, which a subclass can change


class Python2Pickler(_Pickler):  # type: ignore[misc]
    """Writes byte strings as Python 2 did. Python 2 wrote the pickles of CIFAR-10."""

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch: ClassVar[dict[type, Any]] = {**_Pickler.dispatch, bytes: save_bytes}


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def batch_of(file: str) -> dict[bytes, Any]:
    """The dictionary that the Python version pickles in place of a file of the binary version."""
    records = records_of(file)
    return {b"batch_label": b"a batch", b"labels": records[:, 0].tolist(), b"data": records[:, 1:].copy()}


def python_members() -> dict[str, bytes]:
    batches = {Path(file).stem: pickled(batch_of(file)) for file in BATCHES}
    return batches | {"batches.meta": pickled({b"label_names": NAMES, b"num_vis": 3072})}


def archive_of(members: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    """A tar.gz with `extra` members before the others. The content of the extra members is zeros."""
    stream = io.BytesIO()
    folder = "cifar-10-batches-bin" if any(name.endswith(".bin") for name in members) else "cifar-10-batches-py"
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in {"readme.html": b"<html>", **members}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), compresslevel=1, mtime=0)


def tar_of(members: dict[str, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive with exactly these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format_) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


BINARY = archive_of(binary_members())
PYTHON = archive_of(python_members())
SHA1 = {name: hashlib.sha1(content).hexdigest() for name, content in binary_members().items()}  # noqa: S324
PARAMS = DatasetParams(name="cifar10")


def place(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write an archive, and name it in CIFAR10_URL."""
    (tmp_path / "archive").write_bytes(content)
    monkeypatch.setenv("CIFAR10_URL", str(tmp_path / "archive"))
