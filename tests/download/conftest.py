"""Fixtures for a download of small archives from a local server, and checks of the folder that it leaves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from src.download import mirrors, official, sources
from src.download.records import RECORDS
from tests.download.server import Server
from tests.download.small_archives import BATCHES, COUNT, SHA1, binary_members


@pytest.fixture(autouse=True)
def _small_and_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files, no mirror, short waits, and no setting from the environment of the tests."""
    monkeypatch.setitem(RECORDS, "cifar10", dict.fromkeys(BATCHES, COUNT))
    monkeypatch.setattr(official, "SHA1", SHA1)
    monkeypatch.setattr(sources, "MIRRORS", ())
    monkeypatch.setattr(mirrors, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(mirrors, "STALL", 0.3)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("CIFAR10_URL", raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The folder to download to. It does not exist yet."""
    return tmp_path / "data" / "raw"


def use(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    """Make these URLs the mirrors."""
    monkeypatch.setattr(sources, "MIRRORS", urls)


def part(raw: Path, name: str = "c.tar.gz") -> Path:
    """The file that keeps the bytes of an archive that have arrived."""
    return raw.parents[1] / ".checkpoints" / "download" / f"{name}.part"


def put_part(raw: Path, content: bytes) -> None:
    part(raw).parent.mkdir(parents=True)
    part(raw).write_bytes(content)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_cifar10(raw: Path) -> None:
    """All records are there, and no other file is left."""
    assert content_of(raw) == binary_members()
    assert list(raw.parent.iterdir()) == [raw]
    assert list((raw.parents[1] / ".checkpoints").glob("*/*.part")) == []


def assert_nothing(raw: Path) -> None:
    """Neither the folder nor a temporary file beside it is there."""
    assert not raw.parent.exists() or list(raw.parent.iterdir()) == []
