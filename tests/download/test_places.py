"""Where the download writes to: links to another disk, network shares, a disk that is full."""

import errno
import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from src.base.errors import InputError
from src.download.records import DatasetParams
from src.download.sources import download
from tests.defaults import DEFAULTS
from tests.download.conftest import assert_cifar10, assert_nothing, content_of, part, use
from tests.download.server import Server
from tests.download.small_archives import BINARY, PARAMS, binary_members, place

DIGITS = DatasetParams(name="digits")


@pytest.mark.parametrize("linked", ["data", "data/raw"])
def test_a_link_to_another_disk_stays(linked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, link = tmp_path / "disk" / "mine", tmp_path / linked
    disk.mkdir(parents=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(disk)
    place(tmp_path, BINARY, monkeypatch)
    for params in (DIGITS, PARAMS, PARAMS):
        download(tmp_path / "data" / "raw", params)
    assert link.is_symlink()
    raw = disk / "raw" if linked == "data" else disk
    assert content_of(raw) == binary_members()
    assert list(raw.parent.iterdir()) == [raw]
    assert content_of(tmp_path / "data" / "raw") == binary_members()


def test_files_that_are_links_into_a_cache_are_replaced_there_only(raw: Path, tmp_path: Path) -> None:
    """With `cache.type symlink`, DVC leaves links to read-only files of its cache."""
    download(raw, DIGITS)
    before = content_of(raw)
    for file in raw.iterdir():
        file.rename(tmp_path / file.name)
        file.symlink_to(tmp_path / file.name)
    download(raw, DIGITS)
    assert content_of(raw) == before
    assert not any(file.is_symlink() for file in raw.iterdir())
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_a_link_to_nowhere_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "mine")
    with pytest.raises(InputError, match=r"/data: a link to .*/disk/mine, which does not exist; create that folder or"):
        download(tmp_path / "data" / "raw", DIGITS)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("thesis")
    with pytest.raises(InputError, match=r"/data: a folder is needed here, but a file is in the way; move the file"):
        download(tmp_path / "data" / "raw", DIGITS)
    (tmp_path / "raw").write_text("thesis")
    with pytest.raises(NotADirectoryError, match=r"'.*/raw'"):
        download(tmp_path / "raw", DIGITS)
    assert (tmp_path / "data").read_text() == (tmp_path / "raw").read_text() == "thesis"


def test_a_network_share_without_sync_and_locks(
    server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    use(monkeypatch, server.url("/c.tar.gz"))
    download(raw, PARAMS)
    assert_cifar10(raw)
    lines = [line for line in capfd.readouterr().err.splitlines() if "locked" in line]
    assert lines == [
        f"{part(raw).parent}/lock: cannot be locked here (Invalid argument); do not start the same work twice"
    ]


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_a_full_disk_is_one_line_with_a_path(name: str, server: Server, raw: Path, tmp_path: Path) -> None:
    """No file may become longer than 20 kB: the operating system refuses a write in the middle of the file."""
    (tmp_path / "params.yaml").write_text(DEFAULTS.replace("name: cifar10", f"name: {name}"))
    result = subprocess.run(
        [sys.executable, "-m", "stages.download", "--raw", "data/raw"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "CIFAR10_URL": server.url("/c.tar.gz")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    where = "data/raw" if name == "digits" else part(raw)
    assert result.stderr.splitlines()[-1] == f"error: [Errno 27] File too large: '{where}'"
    assert (result.returncode, result.stdout) == (1, "")
    assert_nothing(raw)
