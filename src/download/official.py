"""What CIFAR-10 is: the seven files of the binary version, known by their SHA-1.

There are two official versions with the same 60,000 records: the binary version, and the Python version, whose batches
are pickles (https://www.cs.toronto.edu/~kriz/cifar.html). Only the records count. The container does not matter.
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from src.base.messages import one_line
from src.download.archives import SourceError, members
from src.download.records import CLASSES_FILE, RECORD_BYTES, RECORDS

SHA1: Mapping[str, str] = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    "batches.meta.txt": "0bd38742f1e9325cbd6717d686c45e107fea48dd",
}
"""Of each file of the binary version."""
PICKLES = {Path(file).stem: file for file in SHA1}
"""The files of the Python version, and what they become."""
CLASSES = b"airplane automobile bird cat deer dog frog horse ship truck".split()


def write_cifar10(source: Path, folder: Path) -> None:
    """Write the seven files of the binary version to `folder`. A file is written only if it has the official SHA-1.

    Args:
        source: what `archives.members` reads, with the files of the binary or of the Python version. The file of
            class names may have other line ends, or be pickled in another way.

    Raises:
        SourceError: the source is damaged, a file occurs twice, or files are missing or are not those of CIFAR-10.
        OSError: the source cannot be opened, or a file cannot be written.
    """
    sizes = {file: RECORD_BYTES * RECORDS["cifar10"].get(file, 1) for file in SHA1}
    pickle_sizes = {
        name: 2 * sizes[file] for name, file in PICKLES.items()
    }  # a pickle is larger than its records, but not twice as large
    seen, differing, written = set(), [], set()
    for name, content in members(source, (sizes, pickle_sizes)):
        if name in seen:
            raise SourceError(f"{name}: is there twice")
        seen.add(name)
        file = PICKLES.get(name, name)
        try:
            content = _unpickled(name, content) if name in PICKLES else content
        except ValueError as error:
            raise SourceError(f"{name}: {error}") from None
        if file == CLASSES_FILE and content.split() == CLASSES:
            content = classes_content(CLASSES)
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() == SHA1[file]:
            (folder / file).write_bytes(content)
            written.add(file)
        else:
            differing.append(name)
    names = PICKLES if seen and seen <= set(PICKLES) else {file: file for file in SHA1}
    missing = [name for name, file in names.items() if file not in written and name not in differing]
    problems = [(differing, "not the official content (by SHA-1)"), (missing, "missing")]
    if differing or missing:
        reasons = [f"{', '.join(files)}: {problem}" for files, problem in problems if files]
        raise SourceError(f"not CIFAR-10: {'; '.join(reasons)}")


def classes_content(names: list[bytes]) -> bytes:
    """The file of class names as in the official archive: one name per line, then an empty line."""
    return b"\n".join(names) + b"\n\n"


def _unpickled(name: str, content: bytes) -> bytes:
    """A file of the Python version as the file of the binary version: the label goes before its 3,072 pixels."""
    values = _unpickle(content)
    if PICKLES[name] == CLASSES_FILE:
        names = values.get(b"label_names")
        if not (isinstance(names, list) and all(isinstance(name, bytes) for name in names)):
            raise ValueError("`label_names` is no list of names")
        return classes_content(names)
    records = RECORDS["cifar10"][PICKLES[name]]
    data, labels = values.get(b"data"), values.get(b"labels")
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
    """Read a file of the Python version. Raises ValueError for anything but a dictionary of arrays and values."""
    try:
        values = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise exceptions of every kind
        raise ValueError(f"cannot be read: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"holds a {type(values).__name__}, expected a dictionary")
    return values
