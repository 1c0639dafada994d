"""What a mirror does wrong, and how the download continues or ends."""

import io
import re
import threading
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from src.base.errors import InputError
from src.download import mirrors
from src.download.sources import download
from tests.download.conftest import assert_cifar10, assert_nothing, content_of, part, put_part, use
from tests.download.server import (
    Reply,
    Server,
    complete,
    endless,
    flipped,
    html,
    html_by_type,
    huge,
    long_length,
    moved,
    no_http,
    odd_range,
    stalled,
    status,
    to_a_file,
    truncated,
    without_range,
    wrong_range,
)
from tests.download.small_archives import BINARY, PARAMS, binary_members


def test_a_part_is_continued(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_part(raw, BINARY[:12_345])
    use(monkeypatch, server.url("/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests == [("/c.tar.gz", "bytes=12345-")]
    assert_cifar10(raw)


def test_a_part_of_one_mirror_is_continued_at_the_next(
    server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies = {"/1/c.tar.gz": [truncated, status(404)]}
    use(monkeypatch, server.url("/1/c.tar.gz"), server.url("/2/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests[-1] == ("/2/c.tar.gz", "bytes=1000-")
    assert_cifar10(raw)


def test_a_complete_part_is_verified_and_used(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_part(raw, BINARY)
    use(monkeypatch, server.url("/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests == [("/c.tar.gz", f"bytes={len(BINARY)}-")]  # answered with 416
    assert_cifar10(raw)


@pytest.mark.parametrize("content", [b"x" * 5000, b"x" * (len(BINARY) + 1)], ids=["short", "long"])
def test_a_wrong_part_is_fetched_again(
    content: bytes, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_part(raw, content)
    use(monkeypatch, server.url("/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests == [("/c.tar.gz", f"bytes={len(content)}-"), ("/c.tar.gz", None)]
    assert_cifar10(raw)


def test_a_server_without_ranges_starts_over(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_part(raw, BINARY[:12_345])
    server.replies = {"/c.tar.gz": [without_range]}
    use(monkeypatch, server.url("/c.tar.gz"))
    download(raw, PARAMS)
    assert len(server.requests) == 1
    assert_cifar10(raw)


def test_another_range_than_asked_for_is_not_appended(
    server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_part(raw, BINARY[:12_345])
    server.replies = {"/c.tar.gz": [wrong_range]}
    use(monkeypatch, server.url("/c.tar.gz"))
    download(raw, PARAMS)
    assert "asked for all bytes from 12,345 on, got bytes 7-" in capsys.readouterr().err
    assert server.requests == [("/c.tar.gz", "bytes=12345-"), ("/c.tar.gz", None)]
    assert_cifar10(raw)


@pytest.mark.parametrize("reply", [status(500), status(503), status(429), truncated, stalled])
def test_a_temporary_failure_is_tried_again(
    reply: Reply, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies = {"/c.tar.gz": [reply]}
    use(monkeypatch, server.url("/c.tar.gz"))
    began = time.monotonic()
    download(raw, PARAMS)
    assert time.monotonic() - began < 5
    assert len(server.requests) == 2
    assert_cifar10(raw)


@pytest.mark.parametrize(
    ("reply", "attempts", "reason"),
    [
        (status(404), 1, "HTTP 404 Not Found"),
        (status(403), 1, "HTTP 403 Forbidden"),
        (status(404, "not\x1b[31m here"), 1, re.escape("HTTP 404 not?[31m here")),
        (odd_range, 3, re.escape("asked for all bytes from 0 on, got bytes ?[31m 7")),
        (no_http, 3, re.escape("connection broken: no http ?[31m here")),
        (status(503), 3, "HTTP 503 Service Unavailable"),
        (stalled, 3, "no bytes for 0.3 s"),
        (truncated, 3, "truncated: 1,000 of"),
        (html, 1, "an HTML page instead of the archive"),
        (html_by_type, 1, "an HTML page instead of the archive"),
        (flipped, 2, "(damaged|not CIFAR-10)"),
        (huge, 1, "2,000,000,000 bytes, far more than an archive"),
        (endless, 1, "more than 1,000,000 bytes"),
        (to_a_file, 1, "HTTP 302 "),
    ],
)
def test_a_lasting_failure_ends_with_its_reason(
    reply: Reply, attempts: int, reason: str, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "LIMIT", 1_000_000)
    server.replies = {"/c.tar.gz": [reply] * 3}
    use(monkeypatch, server.url("/c.tar.gz"))
    with pytest.raises(InputError, match=re.escape(server.url("/c.tar.gz")) + ": " + reason):
        download(raw, PARAMS)
    assert len(server.requests) == attempts
    assert_nothing(raw)


@pytest.mark.parametrize(("path", "reply"), [("/c.tar.gz", long_length), (f"/{'a' * 400}.tar.gz", complete)])
def test_lengths_that_no_file_and_no_name_has_do_not_matter(
    path: str, reply: Reply, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies = {path: [reply]}
    use(monkeypatch, server.url(path))
    download(raw, PARAMS)
    assert len(server.requests) == 1
    assert_cifar10(raw)


def test_a_damaged_archive_is_fetched_again_then_from_the_next_mirror(
    server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies = {"/1/c.tar.gz": [flipped, flipped]}
    use(monkeypatch, server.url("/1/c.tar.gz"), server.url("/2/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests == [("/1/c.tar.gz", None), ("/1/c.tar.gz", None), ("/2/c.tar.gz", None)]
    assert_cifar10(raw)


def test_a_login_page_leaves_the_part_unchanged(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_part(raw, BINARY[:12_345])
    server.replies = {"/c.tar.gz": [html]}
    use(monkeypatch, server.url("/c.tar.gz"))
    with pytest.raises(InputError, match="HTML"):
        download(raw, PARAMS)
    assert part(raw).read_bytes() == BINARY[:12_345]


def test_a_redirect_is_followed_with_the_range(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_part(raw, BINARY[:12_345])
    server.replies = {"/old/c.tar.gz": [moved]}
    use(monkeypatch, server.url("/old/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests == [("/old/c.tar.gz", "bytes=12345-"), ("/new/c.tar.gz", "bytes=12345-")]
    assert_cifar10(raw)


@pytest.mark.parametrize(
    ("start", "end", "followed"),
    [("https", "https", True), ("http", "https", True), ("http", "http", True), ("https", "http", False)],
)
def test_https_stays_https(start: str, end: str, followed: bool) -> None:
    request = urllib.request.Request(f"{start}://a/c")  # noqa: S310 - nothing is opened

    def redirect() -> urllib.request.Request | None:
        return mirrors._Redirects().redirect_request(request, io.BytesIO(), 302, "Found", Message(), f"{end}://b/c")  # type: ignore[arg-type]

    if followed:
        new = redirect()
        assert new is not None
        assert new.full_url == f"{end}://b/c"
    else:
        with pytest.raises(urllib.error.HTTPError, match="refused the redirect to http://b/c"):
            redirect()


def test_two_downloads_do_not_mix(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both write the same part, so the second download must wait for the first."""
    use(monkeypatch, server.url("/c.tar.gz"))
    inside: list[int] = []
    receive = mirrors._receive

    def slow(url: str, part: Path) -> None:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.2)
        receive(url, part)
        inside.pop()

    monkeypatch.setattr(mirrors, "_receive", slow)
    folders = [tmp_path / name / "raw" for name in ("one", "two")]
    # Temporary folders are named after the process, which is the same here: each download has its own parent folder.
    threads = [threading.Thread(target=download, args=(folder, PARAMS)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [content_of(folder) for folder in folders] == [binary_members()] * 2


def test_a_stop_keeps_the_part_for_the_next_time(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.replies = {"/c.tar.gz": [stalled]}
    use(monkeypatch, server.url("/c.tar.gz"))
    read = mirrors._read

    def stopped(response: Any) -> bytes:
        if part(raw).exists():
            raise KeyboardInterrupt
        return read(response)

    with monkeypatch.context() as patch:
        patch.setattr(mirrors, "_read", stopped)
        with pytest.raises(KeyboardInterrupt):
            download(raw, PARAMS)
    assert 0 < part(raw).stat().st_size <= 3000
    assert BINARY.startswith(part(raw).read_bytes())
    assert_nothing(raw)
    size = part(raw).stat().st_size
    download(raw, PARAMS)
    assert server.requests[-1] == ("/c.tar.gz", f"bytes={size}-")
    assert_cifar10(raw)
