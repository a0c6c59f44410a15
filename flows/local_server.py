"""One local Prefect server for as long as a command runs."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.processes import end_tree, end_with_parent
from flows.server import GIVEN, wait_for_server
from flows.warm import load


@contextmanager
def local_server(home: Path, environment: Mapping[str, str], waiting: int = subprocess.DEVNULL) -> Iterator[str]:
    """The API's address: that of PREFECT_API_URL, else of a server started here and always stopped again.

    With a pipe to read from as ``waiting`` it starts only when nobody can write to that any more.

    The server's address is known before it answers: whoever uses it waits (``flows.__main__``), so that
    it starts while dvc is still looking for what changed.

    Raises
    ------
    NandError
        When no Prefect server answers at PREFECT_API_URL.
    """
    if url := environment.get("PREFECT_API_URL"):
        wait_for_server(url, GIVEN)
        yield url.rstrip("/")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(os.getpid()), str(port)]
    own = {
        **environment,
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=own, stdout=log, stderr=log, stdin=waiting, start_new_session=True)
        try:
            yield url
        finally:
            end_tree(server)


def _serve(parent: int, port: str) -> None:
    """Become the Prefect server, once it is needed; it ends when its parent dies."""
    end_with_parent(signal.SIGTERM, parent)
    sys.stdin.buffer.read()
    load(("prefect.cli", "prefect.server.api.server"))
    sys.argv = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
