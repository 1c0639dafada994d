"""A server that gives each wrong answer that a mirror may give."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.download.small_archives import BINARY

Reply = Callable[[BaseHTTPRequestHandler, bytes, int], None]
"""Answers one request, given the content of the file and the byte from which the client asks for it."""


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str] | None = None,
    length: int = -1,
    reason: str | None = None,
) -> None:
    handler.send_response(status, reason)
    for name, value in {"Content-Length": str(len(body) if length < 0 else length), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def complete(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    """The correct answer."""
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


def status(code: int, reason: str | None = None) -> Reply:
    return lambda handler, content, start: send(handler, code, b"no", reason=reason)


def long_length(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    """More digits than Python makes a number of."""
    send(handler, 200, content, {"Content-Length": "9" * 5000})


def odd_range(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    send(handler, 206, content, {"Content-Range": "bytes \x1b[31m 7"})


def no_http(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
    handler.wfile.write(b"no http \x1b[31m here\r\n")


class Server:
    """Serves `content` at every path. The `replies` of a path answer its first requests, `complete` all later ones."""

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
                reply = replies.pop(0) if replies else complete
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
