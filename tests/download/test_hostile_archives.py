"""Archives that are made to harm: they end in one line, soon, and in little memory."""

import bz2
import lzma
import re
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from src.base.errors import InputError
from src.download import archives
from src.download.sources import download
from tests.download.conftest import assert_nothing
from tests.download.small_archives import PARAMS, binary_members, place, zip_of

HUGE = 10**10
ZEROS = bz2.compress(bytes(10**7)) * 1000
"""10 GB in 46 kB."""


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def bomb(*headers: bytes) -> bytes:
    """Headers, then 10 GB of zeros."""
    return bz2.compress(b"".join(headers)) + ZEROS


def many(length: int, name: str = "x", size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A bz2 archive with this many members."""
    block = header(name, size, kind) + bytes(size)
    return bz2.compress(block * (length // 10)) * 10


def sparse_of_gnu() -> bytes:
    """A member with a list of holes that does not end, in the format of old GNU tar."""
    first, more = bytearray(header("data_batch_1.bin", 512, tarfile.GNUTYPE_SPARSE)), bytearray(512)
    first[482] = more[504] = 1  # another block of the list follows
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    return bz2.compress(bytes(first)) + bz2.compress(bytes(more) * 10_000) * 100


def sparse_of_pax() -> bytes:
    """The same in the format of POSIX tar."""
    info = tarfile.TarInfo("data_batch_1.bin")
    info.size, info.pax_headers = HUGE, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    return bz2.compress(info.tobuf(tarfile.PAX_FORMAT) + b"1000000000\n") + bz2.compress(b"1\n" * 5_000_000) * 10


TARS: dict[str, Callable[[], bytes]] = {
    "a wanted member": lambda: bomb(header("data_batch_1.bin", HUGE)),
    "another member": lambda: bomb(header("x", HUGE)),
    "a long name": lambda: bomb(header("././@LongLink", HUGE, tarfile.GNUTYPE_LONGNAME)),
    "a pax header": lambda: bomb(header("x", HUGE, tarfile.XHDTYPE)),
    "a global pax header": lambda: bomb(header("x", HUGE, tarfile.XGLTYPE)),
    "long names of long names": lambda: many(10_000, "././@LongLink", kind=tarfile.GNUTYPE_LONGNAME),
    "holes of GNU": sparse_of_gnu,
    "holes of pax": sparse_of_pax,
    "members without end": lambda: many(20_000),
    "zeros": lambda: ZEROS,
    "a size below 0": lambda: header("y", 0) + header("x", -512) * 3,
    "a wanted size below 0": lambda: header("y", 0) + header("data_batch_1.bin", -1024) * 3,
    "zeros in lzma": lambda: lzma.compress(bytes(10**8), lzma.FORMAT_ALONE, preset=0),
}


def lying(content: bytes) -> bytes:
    """A zip archive whose directory states that the first member has 5 bytes."""
    at = content.index(b"PK\1\2") + 24
    return content[:at] + struct.pack("<L", 5) + content[at + 4 :]


def patched(content: bytes, local: int, value: int) -> bytes:
    """A zip archive with another value at this place of the first member's header, also in the directory."""
    for start in (local, content.index(b"PK\1\2") + local + 2):
        content = content[:start] + struct.pack("<H", value) + content[start + 2 :]
    return content


def zipped(compression: int = zipfile.ZIP_STORED) -> bytes:
    return zip_of(binary_members(), compression)


ZIPS: dict[str, Callable[[], bytes]] = {
    "deflated zeros": lambda: zip_of({"data_batch_1.bin": bytes(10**8)}, zipfile.ZIP_DEFLATED),
    "bzip2 zeros": lambda: zip_of({"data_batch_1.bin": bytes(10**8)}, zipfile.ZIP_BZIP2),
    "a lie about the size": lambda: lying(zip_of({"test_batch.bin": bytes(10**8)}, zipfile.ZIP_DEFLATED)),
    "encrypted": lambda: patched(zipped(), 6, 1),
    "unknown compression": lambda: patched(zipped(), 8, 99),
    "names that lead out": lambda: zip_of({"..\\..\\evil": b"", **binary_members()}),
    "a name of a disk": lambda: zip_of({"\\\\server\\evil": b"", **binary_members()}),
    "a folder": lambda: zip_of({"data_batch_1.bin/": b""} | {"x/data_batch_1.bin": b"x"}),
    "empty": lambda: zip_of({}),
}


@pytest.mark.parametrize("make", [*TARS.values(), *ZIPS.values()], ids=[*TARS, *ZIPS])
def test_it_is_refused_soon_and_in_little_memory(
    make: Callable[[], bytes], raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, make(), monkeypatch)
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            download(raw, PARAMS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(caught.value).splitlines()) == 1
    assert peak < 3e8
    assert time.monotonic() - began < 10
    assert_nothing(raw)


def test_only_the_beginning_of_an_archive_is_unpacked(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LIMIT", 3_000_000)
    place(tmp_path, many(20, size=512_000), monkeypatch)
    with pytest.raises(InputError, match=re.escape("holds more than 3,000,000 bytes, far more than CIFAR-10")):
        download(raw, PARAMS)
    assert_nothing(raw)
