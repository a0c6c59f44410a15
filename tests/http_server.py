"""An HTTP server on this machine whose answers a test gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, str | dict[str, str], bytes]
"""Status, content type or all headers, and body; one that is shorter than its Content-Length breaks off."""


@contextmanager
def answering(answer: Callable[[str, Mapping[str, str]], Answer]) -> Iterator[str]:
    """Its address; ``answer`` makes an Answer of a path and the request's headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.path, self.headers)
            headers = {"Content-Type": kind} if isinstance(kind, str) else kind
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def prefect(path: str, headers: Mapping[str, str], password: bool = False) -> Answer:
    """As much of a Prefect server as NAND asks it itself: its page at any path, its API below /api."""
    if not path.startswith("/api/"):
        return 200, "text/html", b"<html>Prefect</html>"
    if path == "/api/health":
        return 200, "application/json", b"true"
    if password and "Authorization" not in headers:
        return 401, "application/json", b"{}"
    return 200, "application/json", b'"3.8.8"'
