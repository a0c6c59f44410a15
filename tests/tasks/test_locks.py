"""The kernel's locks: one holder at a time, and none after the holder's process has ended."""

from __future__ import annotations

import asyncio
import copy
import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nand_core.errors import NandError
from tasks.locks import FlockManager

HOLD = """
import sys, fcntl, pathlib
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
file = (folder / "key").open("w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path) -> FlockManager:
    return FlockManager(tmp_path / "locks")


@pytest.fixture
def other(tmp_path) -> Iterator[subprocess.Popen]:
    """Another process that holds the lock of ``key``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "locks")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_one_holder_at_a_time(locks):
    assert locks.acquire_lock("key", "a", acquire_timeout=0)
    assert locks.acquire_lock("key", "a", acquire_timeout=0), "the holder may ask again"
    assert not locks.acquire_lock("key", "b", acquire_timeout=0.1)
    assert locks.acquire_lock("other", "b", acquire_timeout=0)
    assert locks.is_lock_holder("key", "a") and not locks.is_lock_holder("key", "b")


def test_managers_of_one_folder_exclude_each_other(locks):
    second = FlockManager(Path(locks.folder))
    assert locks.acquire_lock("key", "a")
    assert second.is_locked("key") and not second.is_lock_holder("key", "a")
    assert not second.acquire_lock("key", "a", acquire_timeout=0)
    assert not second.wait_for_lock("key", timeout=0)
    locks.release_lock("key", "a")
    assert second.wait_for_lock("key", timeout=0)
    assert second.acquire_lock("key", "b", acquire_timeout=0)
    assert locks.is_locked("key") and not locks.acquire_lock("key", "a", acquire_timeout=0)


def test_release(locks):
    assert not locks.is_locked("key")
    locks.acquire_lock("key", "a")
    assert locks.is_locked("key")
    with pytest.raises(ValueError, match="no lock held by b for key"):
        locks.release_lock("key", "b")
    assert locks.is_lock_holder("key", "a")
    locks.release_lock("key", "a")
    assert not locks.is_locked("key") and not locks.is_lock_holder("key", "a")
    with pytest.raises(ValueError, match="no lock held by a for key"):
        locks.release_lock("key", "a")
    assert locks.acquire_lock("key", "b", acquire_timeout=0)


def test_looking_takes_no_lock(locks):
    locks.acquire_lock("key", "a")
    locks.release_lock("key", "a")
    assert not locks.is_locked("key") and not locks.is_locked("key")
    assert locks.acquire_lock("key", "b", acquire_timeout=0)


def test_a_killed_process_frees_its_lock(locks, other):
    assert locks.is_locked("key")
    assert not locks.acquire_lock("key", "a", acquire_timeout=0.1)
    other.send_signal(signal.SIGKILL)
    assert locks.acquire_lock("key", "a", acquire_timeout=10)
    assert other.wait() == -signal.SIGKILL


def test_waiting_ends_with_the_process(locks, other):
    assert not locks.wait_for_lock("key", timeout=0.1)
    other.send_signal(signal.SIGKILL)
    assert locks.wait_for_lock("key", timeout=10)


def test_the_event_loop_goes_on_while_waiting(locks):
    async def both() -> list[str]:
        done = []

        async def wait() -> None:
            assert await locks.aacquire_lock("key", "b", acquire_timeout=10)
            done.append("taken")

        async def free() -> None:
            await asyncio.sleep(0)
            assert not await locks.await_for_lock("key", timeout=0)
            assert not await locks.aacquire_lock("key", "c", acquire_timeout=0)
            done.append("freed")
            locks.release_lock("key", "a")

        await asyncio.gather(wait(), free())
        return done

    locks.acquire_lock("key", "a")
    assert asyncio.run(both()) == ["freed", "taken"]


def test_a_copy_shares_the_locks(locks):
    copied = copy.deepcopy({"manager": locks})["manager"]
    assert copied.acquire_lock("key", "a")
    assert locks.is_lock_holder("key", "a")
    locks.release_lock("key", "a")
    assert not copied.is_locked("key")


def test_a_pickled_manager_holds_nothing_of_its_own(locks):
    locks.acquire_lock("key", "a")
    here, there = multiprocessing.Pipe()
    here.send(locks)
    sent = there.recv()
    assert sent.is_locked("key") and not sent.is_lock_holder("key", "a")
    assert not sent.acquire_lock("key", "b", acquire_timeout=0)


def test_a_lock_that_the_system_refuses_is_one_line_and_leaves_no_file_open(locks, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", refused)
        with pytest.raises(NandError, match="No locks available"):
            locks.acquire_lock("key", "me", acquire_timeout=0)
    assert os.listdir("/proc/self/fd") == before
    assert locks.acquire_lock("key", "me", acquire_timeout=0)
