"""From a mirror, an archive, a folder or scikit-learn to a folder of records, and how everything else is refused."""

import gzip
import hashlib
import io
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from src import archives, mirrors
from src import download as module
from src.cifar10 import CLASSES_FILE, RECORD_BYTES, RECORDS, TEST_FILE, TRAIN_FILES, DatasetParams, read_records
from src.download import download
from src.errors import InputError

NAMES = b"airplane automobile bird cat deer dog frog horse ship truck".split()
COUNT = 20
BATCHES = (*TRAIN_FILES, TEST_FILE)


# ---- small archives of both versions ----


def records_of(file: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    generator = np.random.default_rng(BATCHES.index(file))
    records = generator.integers(0, 256, (COUNT, RECORD_BYTES), dtype=np.uint8)
    records[:, 0] = np.arange(COUNT) % 10
    return records


def binary_members() -> dict[str, bytes]:
    return {file: records_of(file).tobytes() for file in BATCHES} | {CLASSES_FILE: b"\n".join(NAMES) + b"\n\n"}


_Pickler: Any = pickle._Pickler  # the one in Python, which can be changed


class Python2Pickler(_Pickler):  # type: ignore[misc]
    """Writes byte strings as Python 2 did, in which the batches of CIFAR-10 were pickled."""

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch: ClassVar[dict[type, Any]] = {**_Pickler.dispatch, bytes: save_bytes}


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def batch_of(file: str) -> dict[bytes, Any]:
    records = records_of(file)
    return {b"batch_label": b"a batch", b"labels": records[:, 0].tolist(), b"data": records[:, 1:].copy()}


def python_members() -> dict[str, bytes]:
    batches = {Path(file).stem: pickled(batch_of(file)) for file in BATCHES}
    return batches | {"batches.meta": pickled({b"label_names": NAMES, b"num_vis": 3072})}


def archive_of(members: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    """A tar.gz with `extra` members before the others; those have no content but zeros."""
    stream = io.BytesIO()
    folder = "cifar-10-batches-bin" if any(name.endswith(".bin") for name in members) else "cifar-10-batches-py"
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in {"readme.html": b"<html>", **members}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), compresslevel=1, mtime=0)


BINARY = archive_of(binary_members())
PYTHON = archive_of(python_members())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


PARAMS = DatasetParams(name="cifar10", sha256=[sha256(BINARY), sha256(PYTHON)])
DIGITS = DatasetParams(name="digits", sha256=["0" * 64])


# ---- a server that misbehaves on demand ----

Reply = Callable[[BaseHTTPRequestHandler, bytes, int], None]


def send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None, length: int = -1
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body) if length < 0 else length), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    """As a server should."""
    if start >= len(content):
        send(handler, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
    elif start:
        send(handler, 206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"})
    else:
        send(handler, 200, content)


def without_range(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, content)


def wrong_range(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 206, content[7:], {"Content-Range": f"bytes 7-{len(content) - 1}/{len(content)}"})


def truncated(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, content[:1000], length=len(content))


def flipped(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])


def stalled(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, content[:3000], length=len(content))
    handler.wfile.flush()
    handler.connection.settimeout(10)
    handler.connection.recv(1)  # returns when the client gives up


def html(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, b"\n<!DOCTYPE HTML>\n<p>Log in</p>")


def html_by_type(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, b"Log in", {"Content-Type": "text/html; charset=utf-8"})


def huge(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 200, content, length=2_000_000_000)


def endless(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(content)


def moved(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 302, b"", {"Location": handler.path.replace("/old/", "/new/")})


def to_a_file(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 302, b"", {"Location": "file:///etc/hostname"})


def status(code: int) -> Reply:
    return lambda handler, content, start: send(handler, code, b"no")


class Server:
    """Serves `content` at any path; `replies` are used up in turn, then `whole` is."""

    def __init__(self) -> None:
        self.content = BINARY
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers["Range"]
                outer.requests.append((self.path, wanted))
                replies = outer.replies.get(self.path, [])
                reply = replies.pop(0) if replies else whole
                try:
                    reply(self, outer.content, int(wanted[6:-1]) if wanted else 0)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECORDS, "cifar10", dict.fromkeys(BATCHES, COUNT))
    monkeypatch.setattr(module, "MIRRORS", ())
    monkeypatch.setattr(mirrors, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(mirrors, "STALL", 0.3)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("CIFAR10_URL", raising=False)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw"


def use(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setattr(module, "MIRRORS", mirrors)


def part(raw: Path, name: str = "c.tar.gz") -> Path:
    return raw.parents[1] / ".checkpoints" / "download" / f"{name}.part"


def put_part(raw: Path, content: bytes) -> None:
    part(raw).parent.mkdir(parents=True)
    part(raw).write_bytes(content)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_cifar10(raw: Path) -> None:
    """All records are there, and nothing else is left."""
    assert content_of(raw) == binary_members()
    assert list(raw.parent.iterdir()) == [raw]
    assert list((raw.parents[1] / ".checkpoints").glob("*/*.part")) == []


def assert_nothing(raw: Path) -> None:
    assert not raw.parent.exists() or list(raw.parent.iterdir()) == []


def place(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> DatasetParams:
    """Name an archive with this content in CIFAR10_URL; parameters that accept it."""
    (tmp_path / "archive").write_bytes(content)
    monkeypatch.setenv("CIFAR10_URL", str(tmp_path / "archive"))
    return DatasetParams(name="cifar10", sha256=[sha256(content)])


# ---- where the archive comes from ----


@pytest.mark.parametrize("content", [BINARY, PYTHON], ids=["binary", "python"])
def test_both_versions_end_as_the_same_bytes(
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
    """A relative path counts from the main workspace, wherever DVC runs the stage."""
    params = place(tmp_path, content, monkeypatch)
    monkeypatch.setenv("CIFAR10_URL", form.format(tmp_path))
    download(raw, params)
    assert_cifar10(raw)
    assert (tmp_path / "archive").read_bytes() == content


def known(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {name: hashlib.sha1(content).hexdigest() for name, content in binary_members().items()}  # noqa: S324
    monkeypatch.setattr(archives, "CONTENT", {PARAMS.sha256[0]: digests})


def put_folder(tmp_path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("named", ["nowhere.tar.gz", "ftp://127.0.0.1/c.tar.gz", "file:///nowhere", "http://[::1"])
def test_a_place_that_is_none_is_an_error_at_once(
    named: str, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, server.url("/c.tar.gz"))
    monkeypatch.setenv("CIFAR10_URL", named)
    with pytest.raises(InputError, match=r"^CIFAR10_URL: .*$"):
        download(raw, PARAMS)
    assert server.requests == []
    assert_nothing(raw)


# ---- what goes wrong on the way ----


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
    assert "asked for byte 12,345 and on, got bytes 7-" in capsys.readouterr().err
    assert server.requests == [("/c.tar.gz", "bytes=12345-"), ("/c.tar.gz", None)]
    assert_cifar10(raw)


@pytest.mark.parametrize("reply", [status(500), status(503), status(429), truncated, stalled])
def test_what_may_pass_is_tried_again(reply: Reply, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        (status(503), 3, "HTTP 503 Service Unavailable"),
        (stalled, 3, "no bytes for 0.3 s"),
        (truncated, 3, "truncated: 1,000 of"),
        (html, 1, "an HTML page instead of the archive"),
        (html_by_type, 1, "an HTML page instead of the archive"),
        (flipped, 2, "sha256 .* is not among those that dataset.sha256 in params.yaml accepts"),
        (huge, 1, "2,000,000,000 bytes, far more than an archive"),
        (endless, 1, "more than 1,000,000 bytes"),
        (to_a_file, 1, "HTTP 302 "),
    ],
)
def test_what_does_not_pass_ends_with_its_reason(
    reply: Reply, attempts: int, reason: str, server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "LIMIT", 1_000_000)
    server.replies = {"/c.tar.gz": [reply] * 3}
    use(monkeypatch, server.url("/c.tar.gz"))
    with pytest.raises(InputError, match=re.escape(server.url("/c.tar.gz")) + ": " + reason):
        download(raw, PARAMS)
    assert len(server.requests) == attempts
    assert_nothing(raw)


def test_a_damaged_archive_is_fetched_once_more_then_elsewhere(
    server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies = {"/1/c.tar.gz": [flipped, flipped]}
    use(monkeypatch, server.url("/1/c.tar.gz"), server.url("/2/c.tar.gz"))
    download(raw, PARAMS)
    assert server.requests == [("/1/c.tar.gz", None), ("/1/c.tar.gz", None), ("/2/c.tar.gz", None)]
    assert_cifar10(raw)


def test_a_login_page_does_not_cost_the_part(server: Server, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        with pytest.raises(urllib.error.HTTPError, match="refused to follow to http://b/c"):
            redirect()


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


def test_two_downloads_do_not_mix(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have the same part; a second one that did not wait would see it half-written."""
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
    # _whole_folder's names hold the process id, and these have folders of their own.
    threads = [threading.Thread(target=download, args=(folder, PARAMS)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [content_of(folder) for folder in folders] == [binary_members()] * 2


# ---- what is wrong with an archive that is accepted ----


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
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_pickle_that_runs_a_command_does_not(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = pickle.dumps(batch_of("data_batch_1.bin") | {b"x": Command(tmp_path / "executed")})
    params = place(tmp_path, python_with("data_batch_1", hostile), monkeypatch)
    with pytest.raises(InputError, match=r"data_batch_1: cannot be read: asks for posix.system, which is not allowed"):
        download(raw, params)
    assert not (tmp_path / "executed").exists()
    assert_nothing(raw)
    pickle.loads(hostile)
    assert (tmp_path / "executed").exists()  # it was a real one


# ---- digits, and the folder ----


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


def test_an_earlier_folder_is_replaced_or_stays(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download(raw, DIGITS)
    before = content_of(raw)
    monkeypatch.setenv("CIFAR10_URL", "nowhere")
    with pytest.raises(InputError):
        download(raw, PARAMS)
    assert content_of(raw) == before
    params = place(tmp_path, BINARY, monkeypatch)
    download(raw, params)
    assert_cifar10(raw)


def test_a_stop_while_the_folder_is_replaced(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        with pytest.raises(OSError, match="No space left"):
            download(raw, PARAMS)
    assert part(raw).read_bytes() == BINARY
    assert_nothing(raw)


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


# ---- as the stage ----


def stage(tmp_path: Path, name: str = "cifar10", **environment: str) -> subprocess.Popen[str]:
    (tmp_path / "params.yaml").write_text(f"dataset: {{name: {name}, sha256: [{sha256(BINARY)}]}}\n")
    return subprocess.Popen(
        [sys.executable, "-m", "stages.download", "--raw", "data/raw"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_stage_writes_digits(raw: Path, tmp_path: Path) -> None:
    process = stage(tmp_path, "digits")
    assert process.communicate(timeout=60) == ("digits: 1,797 records\n", "")
    assert process.returncode == 0
    assert len(content_of(raw)) == 7


def test_the_stage_ends_in_one_line(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "page.tar.gz").write_text("<html>")
    for named, reason in (
        ("nowhere", "not found; name a URL (http, https, file), an archive, or a folder with its members"),
        ("page.tar.gz", "an HTML page instead of the archive"),
    ):
        process = stage(tmp_path, CIFAR10_URL=named)
        assert process.communicate(timeout=60) == ("", f"error: CIFAR10_URL: {tmp_path / named}: {reason}\n")
        assert process.returncode == 1
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
