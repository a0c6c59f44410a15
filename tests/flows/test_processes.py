"""A stage that is told to stop ends within seconds, whatever numpy and torch are at."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

BUSY = """
import os, signal
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
from flows import processes
signal.signal(signal.SIGINT, signal.default_int_handler)
processes.GRACE = 0.2

def forever(number):
    values = torch.rand(200, 200) if number else np.ones((200, 200))
    os.write(1, b"up\\n")  # whole, beside the other one's
    while True:
        values = values @ values * 0.005

with processes.sigterm_raises(), processes.stops_soon("stopped"), ThreadPoolExecutor(2) as pool:
    list(pool.map(forever, range(2)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loops_of_numpy_and_torch_do_not_keep_a_stage_from_ending(number: int) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", BUSY], **pipes) as stage:
        try:
            assert [stage.stdout.readline() for _ in range(2)] == ["up\n"] * 2
            stage.send_signal(number)
            assert stage.wait(60) == 128 + number
        finally:
            stage.kill()
        assert stage.stderr.read() == "stopped\n"


ORPHAN = """
import subprocess, sys, time
import psutil
from flows import processes
processes.POLL = 0.01
dvc = subprocess.Popen(["sleep", "600"])
processes.end_after(psutil.Process(dvc.pid))
dvc.terminate()  # and nobody waits for it: a zombie
time.sleep(600)
"""


def test_a_stage_ends_when_its_dvc_is_gone() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN], timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM
