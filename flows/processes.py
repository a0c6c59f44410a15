"""Running a command so that its whole tree of processes ends with this one."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

PATIENCE = 15.0
PR_SET_PDEATHSIG = 1


def run_tree(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit status; if this process is interrupted, every process below the command is ended too."""
    process = subprocess.Popen(command, env=dict(environment))
    try:
        return process.wait()
    except BaseException:
        end_tree(process)
        raise


def end_tree(process: subprocess.Popen[Any]) -> None:
    """SIGTERM to a process and to all below it, SIGKILL to those that are still there after a while."""
    try:
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for signal_all in (psutil.Process.terminate, psutil.Process.kill):
        for one in tree:
            try:
                signal_all(one)
            except psutil.NoSuchProcess:
                continue
        _, tree = psutil.wait_procs(tree, PATIENCE)
        if not tree:
            break
    process.wait()


def end_with_parent(number: int, parent: int) -> None:
    """Send this process a signal when its parent dies (on Linux: even by SIGKILL), and now if it has already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Lets SIGTERM leave through the ``finally`` clauses as SystemExit(143); only the main thread may set that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
