"""What an archive or a folder holds: the same records from every container of CIFAR-10, and all else is refused."""

import bz2
import gzip
import hashlib
import lzma
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.base.errors import InputError
from src.download.official import CLASSES, SHA1, classes_content
from src.download.records import CLASSES_FILE, RECORD_BYTES, TEST_FILE
from src.download.sources import download
from tests.download.conftest import assert_cifar10, assert_nothing
from tests.download.small_archives import (
    BINARY,
    COUNT,
    NAMES,
    PARAMS,
    archive_of,
    batch_of,
    binary_members,
    pickled,
    place,
    python_members,
    records_of,
    tar_of,
    zip_of,
)

Members = dict[str, bytes]
VERSIONS = pytest.mark.parametrize("members", [binary_members(), python_members()], ids=["binary", "python"])


def test_the_class_names_are_the_official_ones() -> None:
    assert CLASSES == NAMES
    assert hashlib.sha1(classes_content(CLASSES)).hexdigest() == SHA1[CLASSES_FILE]  # noqa: S324


def inside(folder: str) -> Callable[[Members], Members]:
    return lambda members: {folder + name: content for name, content in members.items()}


def with_more(members: Members) -> Members:
    """What macOS, Windows and official archives put beside the files."""
    more = (".DS_Store", "._data_batch_1", "readme.html", "Thumbs.db", "note\n\x1b[31m.txt", "é" * 60, "a" * 300)
    found = {f"top/__MACOSX/._{name}": b"Mac" for name in members} | {f"top/{name}": b"<html>" for name in more}
    return found | {f"top/x/{name}": content for name, content in members.items()}


def packed(pack: Callable[[bytes], bytes], format_: int) -> Callable[[Members], bytes]:
    return lambda members: pack(tar_of(members, format_))


CONTAINERS: dict[str, Callable[[Members], bytes]] = {
    "pax.tar": tar_of,
    "gnu.tar.gz": packed(gzip.compress, tarfile.GNU_FORMAT),
    "pax.tar.bz2": packed(bz2.compress, tarfile.PAX_FORMAT),
    "pax.tar.xz": packed(lambda tar: lzma.compress(tar, preset=0), tarfile.PAX_FORMAT),
    "gnu.tar.lzma": packed(lambda tar: lzma.compress(tar, lzma.FORMAT_ALONE, preset=0), tarfile.GNU_FORMAT),
    "stored.zip": zip_of,
    "deflated.zip": lambda members: zip_of(members, zipfile.ZIP_DEFLATED),
    "bzip2.zip": lambda members: zip_of(members, zipfile.ZIP_BZIP2),
    "lzma.zip": lambda members: zip_of(members, zipfile.ZIP_LZMA),
    "with folders.zip": lambda members: zip_of({"cifar/": b""} | inside("cifar/")(members)),
    "backslashes.zip": lambda members: zip_of({f"cifar\\py\\{name}": content for name, content in members.items()}),
}


@VERSIONS
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "arrange", [inside(""), inside("./"), inside("./a/b c/"), with_more], ids=["flat", "dot", "deep", "more"]
)
def test_every_container_gives_the_same_bytes(
    arrange: Callable[[Members], Members],
    container: str,
    members: Members,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place(tmp_path, CONTAINERS[container](arrange(members)), monkeypatch)
    download(raw, PARAMS)
    assert_cifar10(raw)


def put_folder(tmp_path: Path, members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a folder with these members and one other file, and name the folder in CIFAR10_URL."""
    for name, content in members.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    (tmp_path / "mine" / "readme.html").write_text("more")
    monkeypatch.setenv("CIFAR10_URL", str(tmp_path / "mine"))


TORCHVISION = inside("cifar-10-batches-py/")(python_members()) | {"cifar-10-python.tar.gz": b"packed"}


@pytest.mark.parametrize(
    "members",
    [
        binary_members(),
        python_members(),
        TORCHVISION,
        TORCHVISION | inside("cifar-10-batches-bin/")(binary_members()),
        TORCHVISION | {"data_batch_1.bin": b"not complete"},
        TORCHVISION | inside("older/")({"data_batch_1": b"not complete"}),
        binary_members() | {CLASSES_FILE: b"\r\n".join(NAMES) + b"\r\n"},
    ],
    ids=["binary", "python", "torchvision", "both", "part of binary", "part of python", "Windows"],
)
def test_a_folder(members: Members, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder(tmp_path, members, monkeypatch)
    download(raw, PARAMS)
    assert_cifar10(raw)


@VERSIONS
@pytest.mark.parametrize("container", [*CONTAINERS, "folder"])
def test_one_changed_bit_is_named(
    container: str, members: Members, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(name for name in members if name.startswith("data_batch_3"))
    at = members[name].index(records_of("data_batch_3.bin")[4, 1:].tobytes())
    changed = members | {name: members[name][:at] + bytes([members[name][at] ^ 1]) + members[name][at + 1 :]}
    if container == "folder":
        put_folder(tmp_path, changed, monkeypatch)
    else:
        place(tmp_path, CONTAINERS[container](changed), monkeypatch)
    with pytest.raises(InputError, match=rf"not CIFAR-10: {name}: not the official content \(by SHA-1\);"):
        download(raw, PARAMS)
    assert_nothing(raw)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


IN = "cifar-10-batches-bin/"


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (member("../evil"), "../evil: leads out of the archive"),
        (member("..\\evil"), "..\\evil: leads out of the archive"),
        (member("../a\nb\x1b[31m"), "../a b?[31m: leads out of the archive"),
        (member(IN + "../../data_batch_1.bin"), "data_batch_1.bin: leads out of the archive"),
        (member("/etc/evil"), "/etc/evil: leads out of the archive"),
        (member(IN + "test_batch.bin", tarfile.SYMTYPE, "/etc/passwd"), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.LNKTYPE, "readme.html"), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.CHRTYPE), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.FIFOTYPE), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.DIRTYPE), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", size=1_000_000), "test_batch.bin: more than 61,460 bytes, too many"),
        (member(IN + "batches.meta.txt", size=1_000_000), "batches.meta.txt: more than 3,073 bytes, too many"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else None,
)
def test_hostile_members_are_refused(
    hostile: tarfile.TarInfo, reason: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, archive_of(binary_members(), hostile), monkeypatch)
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        download(raw, PARAMS)
    assert "\n" not in str(caught.value)
    assert_nothing(raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "data"]


def binary_with(file: str, content: bytes) -> bytes:
    return archive_of(binary_members() | {file: content})


def python_with(name: str, content: bytes) -> bytes:
    return archive_of(python_members() | {name: content})


def batch_with(**changes: object) -> bytes:
    changed = {key.encode(): value for key, value in changes.items()}
    return python_with("data_batch_1", pickled(batch_of("data_batch_1.bin") | changed))


ELEVEN = bytes([11]) + bytes(RECORD_BYTES - 1)
DATA = batch_of("data_batch_1.bin")[b"data"]
DIFFERS = ": not the official content"
SWAPPED = [NAMES[1], NAMES[0], *NAMES[2:]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (binary_with("data_batch_1.bin", bytes(100)), "data_batch_1.bin" + DIFFERS),
        (binary_with("data_batch_1.bin", bytes(61_461)), "data_batch_1.bin: more than 61,460 bytes"),
        (binary_with("test_batch.bin", ELEVEN * COUNT), "test_batch.bin" + DIFFERS),
        (binary_with("test_batch.bin", records_of("data_batch_1.bin").tobytes()), "test_batch.bin" + DIFFERS),
        (binary_with("batches.meta.txt", b"cat dog"), "batches.meta.txt" + DIFFERS),
        (binary_with("batches.meta.txt", classes_content(SWAPPED)), "batches.meta.txt" + DIFFERS),
        (
            archive_of({"test_batch.bin": records_of(TEST_FILE).tobytes(), "data_batch_1.bin": b"x"}),
            "data_batch_1.bin: not the official content (by SHA-1); data_batch_2.bin, data_batch_3.bin, "
            "data_batch_4.bin, data_batch_5.bin, batches.meta.txt: missing",
        ),
        (tar_of({"test_batch": python_members()["test_batch"]}), "data_batch_5, batches.meta: missing"),
        (tar_of({"train.bin": b"CIFAR-100"}), "test_batch.bin, batches.meta.txt: missing"),
        (archive_of(binary_members(), member("b/data_batch_1.bin", size=5)), "data_batch_1.bin: is there twice"),
        (tar_of(binary_members() | {"x/test_batch.bin": b""}), "test_batch.bin: is there twice"),
        (zip_of(python_members() | {"x/test_batch": python_members()["test_batch"]}), "test_batch: is there twice"),
        (batch_with(data=DATA.view(np.int8)), "data_batch_1: `data` is no array of uint8"),
        (batch_with(data=DATA[:-1]), "data_batch_1: `data` is no array of uint8 [20, 3072]"),
        (batch_with(data=DATA.reshape(-1)), "data_batch_1: `data` is no array of uint8"),
        (batch_with(data=DATA.tobytes()), "data_batch_1: `data` is no array of uint8"),
        (batch_with(data=DATA ^ 1), "data_batch_1" + DIFFERS),
        (batch_with(labels=[0] * 19), "data_batch_1: `labels` is no list of 20 numbers"),
        (batch_with(labels=[0] * 20), "data_batch_1" + DIFFERS),
        (batch_with(labels=[10] * 20), "data_batch_1: `labels` is no list of 20 numbers"),
        (batch_with(labels=[-1] * 20), "data_batch_1: `labels` is no list of 20 numbers"),
        (batch_with(labels=[b"1"] * 20), "data_batch_1: `labels` is no list of 20 numbers"),
        (python_with("data_batch_1", pickled([1])), "data_batch_1: holds a list, expected a dictionary"),
        (python_with("data_batch_1", b"no pickle"), "data_batch_1: cannot be read: "),
        (python_with("data_batch_1", b""), "data_batch_1: cannot be read: "),
        (python_with("batches.meta", pickled({b"names": NAMES})), "batches.meta: `label_names` is no list of names"),
        (python_with("batches.meta", pickled({b"label_names": SWAPPED})), "batches.meta" + DIFFERS),
        (BINARY[: len(BINARY) // 2], "archive: damaged, or neither"),
        (BINARY[:5000] + bytes(1000) + BINARY[6000:], "archive: damaged, or neither"),
        (gzip.decompress(BINARY)[:100_000], "archive: damaged, or neither"),
        (zip_of(binary_members())[:100_000], "archive: damaged, or neither"),
        (b"no archive", "archive: damaged, or neither a tar nor a zip archive: "),
        (b"", "archive: damaged, or neither a tar nor a zip archive: "),
    ],
)
def test_wrong_content_is_refused_in_one_line(
    content: bytes, reason: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, content, monkeypatch)
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        download(raw, PARAMS)
    assert "\n" not in str(caught.value)
    assert_nothing(raw)


class Command:
    """Its pickle creates the file `target` when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_pickle_cannot_run_a_command(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = pickle.dumps(batch_of("data_batch_1.bin") | {b"x": Command(tmp_path / "executed")})
    place(tmp_path, python_with("data_batch_1", hostile), monkeypatch)
    with pytest.raises(InputError, match=r"data_batch_1: cannot be read: asks for posix.system, which is not allowed"):
        download(raw, PARAMS)
    assert not (tmp_path / "executed").exists()
    assert_nothing(raw)
    pickle.loads(hostile)
    assert (tmp_path / "executed").exists()  # the pickle does run a command in pickle.loads
