"""Download a file over HTTP from a server that may stall, disconnect, or send another file."""

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from tqdm import tqdm

from src.base.files import Lock, named
from src.base.messages import say
from src.download.archives import SourceError, is_html

STALL = 30.0
"""Seconds without a byte after which a connection is given up."""
PAUSES = (1.0, 2.0)
"""Seconds to wait before the second and the third attempt at one mirror."""
LIMIT = 1_000_000_000
"""Bytes. A larger file is not an archive of CIFAR-10 (170 MB, 184 MB without compression)."""
CHUNK = 1 << 20


class TransientError(SourceError):
    """The same source may succeed when it is tried again."""


def fetch(url: str, folder: Path, accept: Callable[[Path], None]) -> None:
    """Fetch the archive at `url` into a `.part` file in `folder` and call `accept`. Continue a part that is there.

    The file is named after the archive, so one mirror continues what another began. If the content is wrong, bytes of
    two different files may have been joined: the archive is fetched once more from its first byte.

    Args:
        accept: uses the archive, or raises SourceError: its content is wrong.

    Raises:
        SourceError: `url` has no accepted archive. If the connection broke, the bytes that arrived are kept.
    """
    # Names of files have at most 255 bytes.
    part = folder / f"{PurePosixPath(urlsplit(url).path).name[-60:] or 'archive'}.part"
    for again in (True, False):
        _receive_patiently(url, part)
        try:
            accept(part)
        except SourceError as error:
            part.unlink()
            if not again:
                raise
            say(f"{shown(url)}: {error}; fetching it once more from the start")
        else:
            break
    part.unlink()


def _receive_patiently(url: str, part: Path) -> None:
    for pause in PAUSES:
        try:
            return _receive(url, part)
        except TransientError as error:
            say(f"{shown(url)}: {error}; trying again in {pause:g} s")
            time.sleep(pause)
    return _receive(url, part)


def _receive(url: str, part: Path) -> None:
    """Append to `part` the missing bytes of the file at `url`.

    Raises:
        SourceError: the server refuses, or sends something that is not an archive.
        TransientError: the server is busy, or the connection broke or stalled. `part` has the bytes that arrived.
    """
    have = part.stat().st_size if part.exists() else 0
    with _respond(url, have) as response:
        status, headers = response.status, response.headers
        if status == 416 and have:
            return  # the server has no more bytes; `accept` checks the content
        if status == 206 and not headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise TransientError(f"asked for all bytes from {have:,} on, got {headers['Content-Range']}")
        if status not in (200, 206):
            busy = status == 429 or status >= 500
            raise (TransientError if busy else SourceError)(f"HTTP {status} {response.reason}")
        if status == 200:
            have = 0
        length = headers.get("Content-Length", "")
        # Python makes no number of thousands of digits. LIMIT is there for files without a size, too.
        total = have + int(length) if length.isdecimal() and len(length) < 1000 else None
        if total is not None and total > LIMIT:
            raise SourceError(f"{total:,} bytes, far more than an archive of CIFAR-10")
        # The first bytes are looked at before the part is opened: a captive portal must not cost what is there.
        chunk = _read(response)
        if headers.get_content_type() == "text/html" or is_html(chunk):
            raise SourceError("an HTML page instead of the archive")
        size = f"{total / 1e6:.1f} MB" if total is not None else "size unknown"
        say(f"{shown(url)}: {size}, {have / 1e6:.1f} MB are here already")
        began, before = time.monotonic(), have
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
        with named(part), part.open("ab" if have else "wb") as file, bar:
            while chunk:
                have += len(chunk)
                if have > LIMIT:
                    part.unlink()
                    raise SourceError(f"more than {LIMIT:,} bytes, far more than an archive of CIFAR-10")
                file.write(chunk)
                bar.update(len(chunk))
                chunk = _read(response)
    if total is not None and have < total:
        raise TransientError(f"truncated: {have:,} of {total:,} bytes")
    seconds, megabytes = max(time.monotonic() - began, 1e-3), (have - before) / 1e6
    say(f"{megabytes:.1f} MB in {seconds:.0f} s, {megabytes / seconds:.2f} MB/s")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise urllib.error.HTTPError(req.full_url, code, f"refused the redirect to {shown(newurl)}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _respond(url: str, start: int) -> Any:
    """Ask for the bytes of `url` from `start` on. The caller closes the response, whatever its status.

    An unknown host name is not tried again, and neither is a host that does not answer for `STALL` seconds. Without a
    network all mirrors fail, and the user must not wait for many attempts.
    """
    headers = {"User-Agent": "vgg-cifar10", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https: sources.py
        return urllib.request.build_opener(_Redirects).open(request, timeout=STALL)
    except urllib.error.HTTPError as answer:
        return answer  # has the attributes of a response
    except urllib.error.URLError as error:
        dropped = isinstance(error.reason, ConnectionResetError)
        raise (TransientError if dropped else SourceError)(f"cannot connect: {error.reason}") from None
    except (http.client.InvalidURL, ValueError) as error:
        raise SourceError(f"not a URL: {error}") from None
    except (http.client.HTTPException, OSError) as error:
        raise _broken(error) from None


def _read(response: http.client.HTTPResponse) -> bytes:
    """The next bytes, as soon as there are any; empty at the end."""
    try:
        return response.read1(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise _broken(error) from None


def _broken(error: Exception) -> TransientError:
    if isinstance(error, TimeoutError):
        return TransientError(f"no bytes for {STALL:g} s")
    return TransientError(f"connection broken: {error or type(error).__name__}")


def shown(url: str) -> str:
    """The URL without user, password and query, which may be secret."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Wait until no other process downloads into this folder: two would mix their bytes in one `.part` file.

    Without locks, two downloads can mix their bytes. `accept` finds this, and the archive is fetched again.
    """
    lock = Lock(folder / "lock")
    if not lock.acquire():
        say("another download of this project is running; waiting for its end")
        lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()
