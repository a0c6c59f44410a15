"""One local Prefect server for as long as a command runs."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM

from flows.server import GIVEN, wait_for_server

URL = "PREFECT_API_URL"


@contextmanager
def local_server(home: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The API's address: that of PREFECT_API_URL, else of a server started here and always stopped again.

    The server's address is known before it answers: whoever uses it waits (``flows.__main__``).

    Raises
    ------
    NandError
        When no Prefect server answers at PREFECT_API_URL.
    """
    from flows.processes import end_tree

    if url := given(environment):
        yield url
        return
    url = free_address()
    server = start_server(home, {**environment, URL: url})
    try:
        yield url
    finally:
        end_tree(server)


def given(environment: Mapping[str, str]) -> str:
    """The address in PREFECT_API_URL, at which a server answers; "" without any. Raises NandError as above."""
    url = environment.get(URL, "")
    if url:
        wait_for_server(url, GIVEN)
    return url.rstrip("/")


def free_address() -> str:
    """Of an API on this machine, at a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/api"


def start_server(home: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a server at PREFECT_API_URL that ends with this process."""
    home.mkdir(parents=True, exist_ok=True)
    own = {
        **environment,
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", __name__, str(os.getpid()), environment[URL]]
    with (home / "server.log").open("w") as log:
        return subprocess.Popen(
            command, env=own, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )


def _serve(parent: int, url: str) -> None:
    """Become the Prefect server; it ends when its parent dies."""
    from flows.loading import load
    from flows.processes import end_with_parent

    end_with_parent(SIGTERM, parent)
    load(("prefect.cli", "prefect.server.api.server"))
    port = url.removesuffix("/api").rpartition(":")[2]
    sys.argv = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
