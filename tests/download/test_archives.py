"""What an archive or a folder holds: the same records from every form of CIFAR-10, and all other content is refused."""

import gzip
import hashlib
import os
import pickle
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.base.errors import InputError
from src.download import archives
from src.download.records import RECORD_BYTES, TEST_FILE, DatasetParams
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
)


def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the small archives the known ones, with the SHA-1 of their files."""
    digests = {name: hashlib.sha1(content).hexdigest() for name, content in binary_members().items()}  # noqa: S324
    monkeypatch.setattr(archives, "CONTENT", {PARAMS.sha256[0]: digests})


def put_folder(tmp_path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a folder with these members and one other file, and name the folder in CIFAR10_URL."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    (folder / "readme.html").write_text("more")
    monkeypatch.setenv("CIFAR10_URL", str(folder))


@pytest.mark.parametrize("members", [binary_members, python_members])
def test_a_folder_with_the_members(
    members: Callable[[], dict[str, bytes]], raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    put_folder(tmp_path, members(), monkeypatch)
    download(raw, PARAMS)
    assert_cifar10(raw)


def test_a_folder_of_an_archive_that_params_do_not_accept(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    put_folder(tmp_path, binary_members(), monkeypatch)
    with pytest.raises(InputError, match=r"mine: .*: not what an archive holds"):
        download(raw, DatasetParams(name="cifar10", sha256=["0" * 64]))
    assert_nothing(raw)


@pytest.mark.parametrize("members", [binary_members, python_members])
def test_a_folder_with_one_member_changed(
    members: Callable[[], dict[str, bytes]], raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    changed = members()
    name = next(name for name in changed if name.startswith("data_batch_3"))
    at = changed[name].index(records_of("data_batch_3.bin")[4, 1:].tobytes())
    changed[name] = changed[name][:at] + bytes([changed[name][at] ^ 1]) + changed[name][at + 1 :]
    put_folder(tmp_path, changed, monkeypatch)
    with pytest.raises(InputError, match=r"mine: data_batch_3.bin: not what an archive holds"):
        download(raw, PARAMS)
    assert_nothing(raw)


def test_a_folder_without_a_member(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch)
    members = python_members()
    del members["data_batch_2"]
    put_folder(tmp_path, members, monkeypatch)
    with pytest.raises(InputError, match=r"mine: lacks the members for data_batch_2.bin;"):
        download(raw, PARAMS)
    assert_nothing(raw)


def test_unpacked_records_are_compared_with_the_known_ones(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    changed = binary_members()
    changed[TEST_FILE] = changed[TEST_FILE][:-1] + b"\0"
    params = place(tmp_path, archive_of(changed), monkeypatch)
    monkeypatch.setattr(archives, "CONTENT", {params.sha256[0]: archives.CONTENT[PARAMS.sha256[0]]})
    with pytest.raises(InputError, match=r"archive: test_batch.bin: not what"):
        download(raw, params)
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
        (member(IN + "../../data_batch_1.bin"), "data_batch_1.bin: leads out of the archive"),
        (member("/etc/evil"), "/etc/evil: leads out of the archive"),
        (member(IN + "test_batch.bin", tarfile.SYMTYPE, "/etc/passwd"), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.LNKTYPE, "readme.html"), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.CHRTYPE), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.FIFOTYPE), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", tarfile.DIRTYPE), IN + "test_batch.bin: is no regular file"),
        (member(IN + "test_batch.bin", size=1_000_000), "test_batch.bin: 1,000,000 bytes, too many"),
        (member(IN + "batches.meta.txt", size=1_000_000), "batches.meta.txt: 1,000,000 bytes, too many"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else None,
)
def test_hostile_members_are_refused(
    hostile: tarfile.TarInfo, reason: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = place(tmp_path, archive_of(binary_members(), hostile), monkeypatch)
    with pytest.raises(InputError, match=re.escape(reason)):
        download(raw, params)
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (binary_with("data_batch_1.bin", bytes(100)), "data_batch_1.bin: 100 bytes, expected 61,460"),
        (binary_with("data_batch_1.bin", bytes(61_459)), "data_batch_1.bin: 61,459 bytes, expected 61,460"),
        (binary_with("test_batch.bin", ELEVEN * COUNT), "test_batch.bin: a record has label 11, expected 0..9"),
        (binary_with("batches.meta.txt", b"cat dog"), "batches.meta.txt: expected the names of 10 classes"),
        (binary_with("batches.meta.txt", b"cat " * 10), "batches.meta.txt: expected the names of 10 classes"),
        (archive_of({"test_batch.bin": records_of(TEST_FILE).tobytes()}), "lacks the members for data_batch_1.bin, "),
        (
            archive_of(binary_members(), member(IN + "data_batch_1.bin", size=61_460)),
            "data_batch_1.bin: is there twice",
        ),
        (batch_with(data=DATA.view(np.int8)), "data_batch_1: `data` is no array of uint8"),
        (batch_with(data=DATA[:-1]), "data_batch_1: `data` is no array of uint8 [20, 3072]"),
        (batch_with(data=DATA.reshape(-1)), "data_batch_1: `data` is no array of uint8"),
        (batch_with(data=DATA.tobytes()), "data_batch_1: `data` is no array of uint8"),
        (batch_with(labels=[0] * 19), "data_batch_1: `labels` is no list of 20 numbers"),
        (batch_with(labels=[10] * 20), "data_batch_1: `labels` is no list of 20 numbers"),
        (batch_with(labels=[-1] * 20), "data_batch_1: `labels` is no list of 20 numbers"),
        (batch_with(labels=[b"1"] * 20), "data_batch_1: `labels` is no list of 20 numbers"),
        (python_with("data_batch_1", pickled([1])), "data_batch_1: holds a list, expected a dictionary"),
        (python_with("data_batch_1", b"no pickle"), "data_batch_1: cannot be read: "),
        (python_with("data_batch_1", b""), "data_batch_1: cannot be read: "),
        (python_with("batches.meta", pickled({b"names": NAMES})), "batches.meta: expected the names of 10 classes"),
        (python_with("batches.meta", pickled({b"label_names": [b"a b"] * 10})), "batches.meta: expected the names"),
        (BINARY[: len(BINARY) // 2], "archive: damaged: "),
        (BINARY[:5000] + bytes(1000) + BINARY[6000:], "archive: damaged: "),
        (gzip.decompress(BINARY)[:100_000], "archive: damaged: "),
        (b"no archive", "archive: damaged: "),
    ],
)
def test_wrong_content_is_refused_in_one_line(
    content: bytes, reason: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = place(tmp_path, content, monkeypatch)
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        download(raw, params)
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
    params = place(tmp_path, python_with("data_batch_1", hostile), monkeypatch)
    with pytest.raises(InputError, match=r"data_batch_1: cannot be read: asks for posix.system, which is not allowed"):
        download(raw, params)
    assert not (tmp_path / "executed").exists()
    assert_nothing(raw)
    pickle.loads(hostile)
    assert (tmp_path / "executed").exists()  # the pickle does run a command in pickle.loads
