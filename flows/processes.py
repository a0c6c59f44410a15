"""Running a command so that its whole tree of processes ends with this one, however this one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

PATIENCE = 15.0
GRACE = 3.0
"""Seconds that a process which was told to stop has to put things in order."""
POLL, SHORT = 1.0, 0.02
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def run_tree(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit status; every process below it ends with this one, by an interrupt or by SIGKILL."""
    with supervised(command, environment) as process:
        return process.wait()


@contextmanager
def supervised(
    command: Sequence[str], environment: Mapping[str, str], **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """The command below a supervisor of its own, which ends its whole tree once this process is gone.

    ``options`` are those of ``subprocess.Popen``. The exit status is the command's, or 128 and the number of the
    signal that ended it. An exception ends the tree, too.
    """
    theirs, ours = os.pipe()  # nobody writes: the kernel closes our end with this process, however it dies
    with os.fdopen(ours, "wb") as lifeline:
        try:
            command = [sys.executable, "-m", __name__, str(theirs), *command]
            process = subprocess.Popen(command, env=dict(environment), pass_fds=[theirs], **options)
        finally:
            os.close(theirs)
        try:
            yield process
        except BaseException:
            lifeline.close()  # it alone knows what else came to be below it, and ends with the last of them
            process.wait()
            raise
        finally:
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                pipe.close()


def end_tree(process: subprocess.Popen[Any]) -> None:
    """SIGTERM to a process and to all below it, SIGKILL to those that are still there after a while."""
    try:
        top = psutil.Process(process.pid)
        end_all([top, *top.children(recursive=True)])
    except psutil.NoSuchProcess:
        return
    process.wait()


def end_all(processes: Sequence[psutil.Process]) -> None:
    """SIGTERM to processes, SIGKILL to those that are still there after a while."""
    for signal_all in (psutil.Process.terminate, psutil.Process.kill):
        for one in processes:
            try:
                signal_all(one)
            except psutil.NoSuchProcess:
                continue
        until = time.monotonic() + PATIENCE
        # Not psutil's wait_procs: a zombie whose parent is gone may stay for seconds until somebody takes it away.
        while (processes := [one for one in processes if at_work(one)]) and time.monotonic() < until:
            time.sleep(SHORT)
        if not processes:
            break


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


@contextmanager
def stops_soon(said: str) -> Iterator[None]:
    """After SIGTERM or SIGINT this process ends within ``GRACE`` seconds, whatever its threads are computing.

    Only the main thread may set that. ``said`` is printed to stderr where it ends before it came to leave by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The system's own handler writes there; Python's waits until numpy or torch return to the main thread, and what
    # they compute in other threads it never stops.
    signals, written = os.pipe()
    os.set_blocking(written, False)
    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    threading.Thread(target=_end_late, args=(signals, said), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(written)


def _end_late(signals: int, said: str) -> None:
    while number := os.read(signals, 1):
        if number[0] in (signal.SIGTERM, signal.SIGINT):
            time.sleep(GRACE)
            os.write(2, f"{said}\n".encode())
            for one in psutil.Process().children(recursive=True):
                one.kill()
            os._exit(128 + number[0])
    os.close(signals)


def at_work(process: psutil.Process) -> bool:
    """Whether it is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_after(other: psutil.Process) -> None:
    """From now on SIGTERM comes to this process when the other one is gone."""

    def watch() -> None:
        while at_work(other):
            time.sleep(POLL)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _supervise(lifeline: int, command: Sequence[str]) -> int:
    if sys.platform == "linux":  # what a dead process leaves below it comes here, to be ended
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal's is for the command as well
    process = subprocess.Popen(command)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    status = process.wait()
    end_all(psutil.Process().children(recursive=True))
    return status if status >= 0 else 128 - status


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)  # at its end
    end_all(psutil.Process().children(recursive=True))


if __name__ == "__main__":
    sys.exit(_supervise(int(sys.argv[1]), sys.argv[2:]))
