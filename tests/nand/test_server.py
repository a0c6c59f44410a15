"""A local Prefect server and the programs below it never outlive the command that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
from http_server import answering, prefect

from benchmarks.scratch import seed_database
from flows.local_server import free_address, local_server, start_server
from flows.server import wait_for_server
from nand_core.errors import NandError

STARTER = """
import os, signal, sys
from pathlib import Path
# A shell starts what runs in the background with SIGINT ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.processes import run_tree, sigterm_raises
from flows.local_server import local_server
with sigterm_raises(), local_server(Path(sys.argv[1]), os.environ) as url:
    if "wait" in sys.argv:
        from flows.server import wait_for_server
        wait_for_server(url)
    run_tree([sys.executable, "-c", "print('running', flush=True); import time; time.sleep(600)"], os.environ)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_the_server_ends_with_its_command(tmp_path: Path, prefect_database: Path, number: int) -> None:
    seed_database(tmp_path)
    # Nobody ends the server of one that is killed: it must itself, once it is wholly up.
    wait = ["wait"] if number == signal.SIGKILL else []
    command = [sys.executable, "-c", STARTER, str(tmp_path), *wait]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert "running\n" in iter(starter.stdout.readline, "")
        below = psutil.Process(starter.pid).children(recursive=True)
        servers = [process for process in below if "time.sleep" not in " ".join(process.cmdline())]
        assert servers
        starter.send_signal(number)
        try:
            starter.wait(60)
        finally:
            starter.kill()
    _, alive = psutil.wait_procs(below, timeout=60)
    for process in alive:
        process.kill()
    assert not alive


def test_a_server_that_is_given_is_used_and_left_alone(tmp_path: Path) -> None:
    before = psutil.Process().children()
    with answering(prefect) as given, local_server(tmp_path, {"PREFECT_API_URL": f"{given}/api//"}) as url:
        assert url == f"{given}/api"
        assert psutil.Process().children() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{page}", "is no Prefect API; its API is at {page}/api"),
        ("{page}/", "is no Prefect API; its API is at {page}/api"),
        ("{other}/api", "is no Prefect API; give the address of one, which ends in /api"),
        ("{locked}/api", "{locked}/api asks for a password; set PREFECT_API_AUTH_STRING"),
        ("http://127.0.0.1:1/api", "no Prefect server answers at http://127.0.0.1:1/api; start it"),
        ("127.0.0.1:4200/api", "'127.0.0.1:4200/api' is no address; write one such as http://127.0.0.1:4200/api"),
        ("http://[nonsense", "'http://[nonsense' is no address"),
        ("http://here:port/api", "'http://here:port/api' is no address"),
        ("nonsense", "'nonsense' is no address"),
        *((url, "is no address") for url in ("http://.../api", "http://\u202eabc/api", "http://xn--/api")),
        *((url, "user:password into PREFECT_API_AUTH_STRING") for url in (
            "http://me:geheim@127.0.0.1:1/api", "me:geheim@here", "http://here/api?key=geheim")),
    ],
)
def test_a_wrong_address_is_one_line(tmp_path: Path, monkeypatch, url: str, said: str) -> None:
    monkeypatch.setattr("flows.local_server.GIVEN", 0.1)
    locked, other = partial(prefect, password=True), lambda *_: (404, "application/json", b"{}")
    with answering(prefect) as page, answering(locked) as locked, answering(other) as other:
        places = {"page": page, "locked": locked, "other": other}
        given = {"PREFECT_API_URL": url.format(**places)}
        with pytest.raises(NandError) as refused, local_server(tmp_path, given):
            pass
        assert "PREFECT_API_URL: " in str(refused.value) and said.format(**places) in str(refused.value)
        assert "geheim" not in str(refused.value)
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:secret")
        with local_server(tmp_path, {"PREFECT_API_URL": f"{places['locked']}/api"}):
            pass


def test_a_server_that_ends_while_it_starts_is_not_waited_for(tmp_path: Path) -> None:
    """Its database is no database: so ``nand repro`` says where to look, instead of waiting for three minutes."""
    (tmp_path / "prefect.db").write_text("not a database")
    url = free_address()
    server = start_server(tmp_path, {**os.environ, "PREFECT_API_URL": url})
    with pytest.raises(NandError, match=r"ended while it was starting; \.nand/prefect/server\.log says why"):
        wait_for_server(url, number=server.pid)
    assert server.wait() and "not a database" in (tmp_path / "server.log").read_text()
