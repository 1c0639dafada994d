"""Where the data set comes from, and the folder that the download leaves."""

import gzip
import os
import re
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from src.base.errors import InputError
from src.download import mirrors
from src.download.records import CLASSES_FILE, RECORDS, DatasetParams, read_records
from src.download.sources import download
from tests.defaults import DEFAULTS
from tests.download.conftest import assert_cifar10, assert_nothing, content_of, part, use
from tests.download.server import Server, send, status
from tests.download.small_archives import BATCHES, BINARY, PARAMS, PYTHON, place

DIGITS = DatasetParams(name="digits")


@pytest.mark.parametrize("content", [BINARY, PYTHON], ids=["binary", "python"])
def test_both_versions_give_the_same_bytes(
    content: bytes, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = content
    use(monkeypatch, server.url("/c.tar.gz"))
    for _ in range(2):
        download(raw, PARAMS)
        assert_cifar10(raw)


def test_mirrors_are_tried_in_order(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.replies = {"/1/c.tar.gz": [status(404)], "/2/c.tar.gz": [status(403)]}
    use(monkeypatch, *(server.url(f"/{i}/c.tar.gz") for i in (1, 2, 3, 4)))
    download(raw, PARAMS)
    assert server.requests == [("/1/c.tar.gz", None), ("/2/c.tar.gz", None), ("/3/c.tar.gz", None)]
    assert_cifar10(raw)


def test_a_url_in_the_environment_comes_first(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, server.url("/mirror/c.tar.gz"))
    monkeypatch.setenv("CIFAR10_URL", server.url("/mine?key=secret"))
    download(raw, PARAMS)
    assert server.requests == [("/mine?key=secret", None)]
    assert_cifar10(raw)


def test_a_url_that_fails_is_followed_by_the_mirrors(
    server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies = {"/mine": [status(404)]}
    use(monkeypatch, server.url("/mirror/c.tar.gz"))
    monkeypatch.setenv("CIFAR10_URL", server.url("/mine"))
    download(raw, PARAMS)
    assert_cifar10(raw)


@pytest.mark.parametrize("content", [BINARY, PYTHON, gzip.decompress(BINARY)], ids=["binary", "python", "tar"])
@pytest.mark.parametrize("form", ["{}/archive", "file://{}/archive", "archive"])
def test_an_archive_on_disk(
    content: bytes, form: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path starts at the main workspace, also when DVC runs the stage elsewhere."""
    place(tmp_path, content, monkeypatch)
    monkeypatch.setenv("CIFAR10_URL", form.format(tmp_path))
    download(raw, PARAMS)
    assert_cifar10(raw)
    assert (tmp_path / "archive").read_bytes() == content


@pytest.mark.parametrize("named", ["nowhere.tar.gz", "ftp://127.0.0.1/c.tar.gz", "file:///nowhere", "http://[::1"])
def test_a_wrong_cifar10_url_is_an_error_at_once(
    named: str, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, server.url("/c.tar.gz"))
    monkeypatch.setenv("CIFAR10_URL", named)
    with pytest.raises(InputError, match=r"^CIFAR10_URL: .*$"):
        download(raw, PARAMS)
    assert server.requests == []
    assert_nothing(raw)


def test_without_network_all_mirrors_and_ways_on_are_named(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    urls = ("https://a.invalid/c.tar.gz", "https://b.invalid/c.tar.gz?token=secret", "https://me:pass@c.invalid/c")
    use(monkeypatch, *urls)
    monkeypatch.setattr(mirrors, "PAUSES", (60.0, 60.0))
    monkeypatch.setattr("socket.getaddrinfo", unresolved)
    with pytest.raises(InputError) as caught:
        download(raw, PARAMS)
    lines = str(caught.value).splitlines()
    assert lines[0] == "no source has CIFAR-10:"
    assert [line.split(": ")[0].strip() for line in lines[1:4]] == [
        "https://a.invalid/c.tar.gz",
        "https://b.invalid/c.tar.gz",
        "https://c.invalid/c",
    ]
    assert all("Name or service not known" in line for line in lines[1:3])
    assert "secret" not in str(caught.value)
    assert [way in line for way, line in zip(("CIFAR10_URL=", "dvc pull", "make demo"), lines[5:], strict=True)] == [
        True
    ] * 3
    assert_nothing(raw)


def test_digits_are_those_of_scikit_learn(raw: Path) -> None:
    from sklearn.datasets import load_digits

    download(raw, DIGITS)
    first = content_of(raw)
    assert sorted(first) == sorted((*BATCHES, CLASSES_FILE))
    parts = [read_records(raw / file, RECORDS["digits"][file]) for file in BATCHES]
    assert [len(labels) for _, labels in parts] == [300] * 5 + [297]
    assert all(set(labels) == set(range(10)) for _, labels in parts)
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    digits = load_digits()
    assert (labels == digits.target).all()
    expected = np.kron(np.rint(digits.images * 255 / 16), np.ones((4, 4)))
    assert (images == expected[:, None]).all()
    assert (images.min(), images.max()) == (0, 255)
    assert (raw / CLASSES_FILE).read_text() == "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n\n"
    download(raw, DIGITS)
    assert content_of(raw) == first


def test_an_earlier_folder_is_replaced_only_on_success(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download(raw, DIGITS)
    before = content_of(raw)
    monkeypatch.setenv("CIFAR10_URL", "nowhere")
    with pytest.raises(InputError):
        download(raw, PARAMS)
    assert content_of(raw) == before
    place(tmp_path, BINARY, monkeypatch)
    download(raw, PARAMS)
    assert_cifar10(raw)


def test_a_stop_during_the_replacement_keeps_the_earlier_folder(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download(raw, DIGITS)
    before = content_of(raw)
    rename = Path.rename

    def stopped(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            download(raw, DIGITS)
    assert content_of(raw) == before
    assert list(raw.parent.iterdir()) == [raw]


def test_a_folder_with_other_files_is_not_replaced(raw: Path) -> None:
    raw.mkdir(parents=True)
    (raw / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"raw: holds thesis.txt, which is no file of the data set"):
        download(raw, DIGITS)
    assert content_of(raw) == {"thesis.txt": b"years of work"}


def test_a_full_disk_keeps_the_archive(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    use(monkeypatch, server.url("/c.tar.gz"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*raw'"):
            download(raw, PARAMS)
    assert part(raw).read_bytes() == BINARY
    assert_nothing(raw)


def stage(tmp_path: Path, dataset: str = "name: cifar10", **environment: str) -> subprocess.Popen[str]:
    """Start the stage in the folder `tmp_path`."""
    (tmp_path / "params.yaml").write_text(DEFAULTS.replace("name: cifar10", dataset))
    return subprocess.Popen(
        [sys.executable, "-m", "stages.download", "--raw", "data/raw"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_stage_writes_digits(raw: Path, tmp_path: Path) -> None:
    process = stage(tmp_path, "name: digits")
    assert process.communicate(timeout=60) == ("digits: 1,797 records\n", "")
    assert process.returncode == 0
    assert len(content_of(raw)) == 7


def test_the_stage_ends_in_one_line(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "page.tar.gz").write_text("<html>")
    for named, reason in (
        ("nowhere", "not found; name a URL (http, https, file), an archive, or a folder with its files"),
        ("page.tar.gz", "an HTML page instead of the archive"),
    ):
        process = stage(tmp_path, CIFAR10_URL=named)
        output, errors = process.communicate(timeout=60)
        assert output == ""
        assert errors.startswith(f"error: CIFAR10_URL: {tmp_path / named}: {reason}")
        assert len(errors.splitlines()) == 1
        assert process.returncode == 1
        assert_nothing(raw)


@pytest.mark.parametrize("value", ["[0123456789abcdef]", "null"])
def test_the_key_of_earlier_versions_is_refused_with_what_to_do(value: str, raw: Path, tmp_path: Path) -> None:
    process = stage(tmp_path, f"name: digits\n  sha256: {value}")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(
        "error: params.yaml: dataset: sha256: unknown parameter; the project has no such key any more, .* remove .*\n",
        errors,
    )
    assert_nothing(raw)


def test_the_stage_stops_on_a_signal(server: Server, raw: Path, tmp_path: Path) -> None:
    def slow(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
        send(handler, 200, content[:3000], length=len(content))
        handler.wfile.flush()
        process.send_signal(signal.SIGTERM)

    server.replies = {"/c.tar.gz": [slow]}
    process = stage(tmp_path, CIFAR10_URL=server.url("/c.tar.gz"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.splitlines()[-1] == "stopped by SIGTERM"
    assert_nothing(raw)
