"""A real HTTP server on loopback that speaks the chat-completions protocol, as a test scripts it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nand_core.errors import NandError
from nand_core.prompts.generate import generate_phrases
from nand_core.prompts.openai_client import KEY
from nand_core.prompts.settings import OpenAISettings

SECRET = "sk-a-key-for-tests-0123456789"
GOOD = ["loose thread on carpet", "stray fibre", "Carpet with a thread.", "thread lying across carpet"]
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


@dataclass
class Reply:
    """What the server does with one request; ``act`` takes the place of an ordinary answer."""

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    act: Callable[[Handler], None] | None = None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.server.take(self.path, self.headers, body)
        try:
            if reply.act:
                reply.act(self)
                return
            data = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.start(reply.status, {"Content-Length": str(len(data)), **reply.headers})
            self.wfile.write(data)
        except ConnectionError:
            self.close_connection = True

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = []
        self.requests: list[dict] = []
        self.headers: list[Message] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        self._lock = threading.Lock()

    def take(self, path: str, headers: Message, body: dict) -> Reply:
        with self._lock:
            self.paths.append(path)
            self.headers.append(headers)
            self.requests.append(body)
            return self.replies[min(len(self.requests), len(self.replies)) - 1]

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def llm(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv(KEY, SECRET)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def delays(monkeypatch) -> list[float]:
    """The delays before retries, which are not waited for."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def message(content: object, **extra: object) -> str:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": content, **extra},
    }
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE})


def good(phrases: list[str] = GOOD) -> Reply:
    return Reply(message(json.dumps({"phrases": phrases})))


def settings(server: Server, **given: object) -> OpenAISettings:
    host, port = server.server_address
    given = {"timeout": 20.0, "max_retries": 2, **given}
    return OpenAISettings(base_url=f"http://{host}:{port}/v1", model="writer", **given)


def ask(server: Server, *replies: Reply, count: int = 4, names: tuple[str, ...] = (), **given: object):
    server.replies = list(replies)
    return generate_phrases("carpet", "thread", count, settings(server, **given), other_names=names)


def fails(server: Server, *replies: Reply, **given: object) -> str:
    with pytest.raises(NandError) as error:
        ask(server, *replies, **given)
    text = str(error.value)
    assert text.startswith("prompts of carpet/thread: ")
    assert "\n" not in text
    assert len(text) < 600
    return text


def hang(handler: Handler) -> None:
    handler.server.over.wait(10)
    handler.close_connection = True


def drop(handler: Handler) -> None:
    handler.close_connection = True


def drop_in_the_middle(handler: Handler) -> None:
    handler.start(200, {"Content-Length": "1000"})
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def endless(handler: Handler) -> None:
    handler.start(200, {"Connection": "close"})
    while True:
        handler.wfile.write(b"x" * 65536)


def drip(handler: Handler) -> None:
    handler.start(200, {"Connection": "close"})
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")
