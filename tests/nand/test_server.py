"""A local Prefect server and the programs below it never outlive the command that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

STARTER = """
import os, signal, sys
from pathlib import Path
# A shell starts what runs in the background with SIGINT ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.processes import run_tree, sigterm_raises
from nand.project.server import local_server
with sigterm_raises(), local_server(Path(sys.argv[1]), os.environ) as url:
    if "wait" in sys.argv:
        from flows.__main__ import wait_for_server
        wait_for_server(url)
    run_tree([sys.executable, "-c", "print('running', flush=True); import time; time.sleep(600)"], os.environ)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_the_server_ends_with_its_command(tmp_path: Path, number: int) -> None:
    # Nobody ends the server of one that is killed: it must itself, once it is wholly up.
    wait = ["wait"] if number == signal.SIGKILL else []
    command = [sys.executable, "-c", STARTER, str(tmp_path), *wait]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout.readline() == "running\n"
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
    from nand.project.server import local_server

    before = psutil.Process().children()
    with local_server(tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:1/api"}) as url:
        assert url == "http://127.0.0.1:1/api"
        assert psutil.Process().children() == before
    assert list(tmp_path.iterdir()) == []


