"""A small HTTP server of a test's own."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_S = 0.02
"""How long a server may take to notice that it is to end."""


class Request(BaseHTTPRequestHandler):
    """One request: `command`, `path` and `headers`, what it sends, and how it is answered."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def body(self) -> bytes:
        """What was sent, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Send all of an answer. Underscores in the headers' names are hyphens."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serving(reply: Callable[[Request], None]) -> Iterator[str]:
    """A server on a free port that calls `reply` with every request; its address."""

    class Handler(Request):
        def do(self) -> None:
            reply(self)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do  # noqa: N815 - the library's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
