"""Kernel locks behind Prefect's LockManager: a killed process leaves nobody waiting."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect.locking.protocol import LockManager

from nand_core.artifacts.disk import make_folder, refusals

POLL = 0.05


def _tries(timeout: float | None) -> Iterator[None]:
    """A first try at once, and more until ``timeout`` seconds have passed (None: for ever)."""
    end = None if timeout is None else time.monotonic() + timeout
    yield
    while end is None or time.monotonic() < end:
        yield


class FlockManager(LockManager):
    """One ``flock`` file a key. The kernel frees it when the holding process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, tuple[int, str]] = {}
        self._guard = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> FlockManager:
        return self  # Prefect copies cache policies; the locks of a process must stay in one place.

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        FlockManager.__init__(self, state["folder"])

    def _try(self, key: str, holder: str) -> bool:
        with self._guard:
            if key in self._held:
                return self._held[key][1] == holder
            with refusals(self.folder):
                make_folder(self.folder)
                handle = os.open(self.folder / key, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    os.close(handle)
                    if isinstance(error, BlockingIOError):
                        return False
                    raise
            self._held[key] = (handle, holder)
            return True

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock of ``key``, waiting at most ``acquire_timeout`` seconds (None: for ever)."""
        for _ in _tries(acquire_timeout):
            if self._try(key, holder):
                return True
            time.sleep(POLL)
        return False

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """As :meth:`acquire_lock`, without blocking the event loop."""
        for _ in _tries(acquire_timeout):
            if self._try(key, holder):
                return True
            await asyncio.sleep(POLL)
        return False

    def release_lock(self, key: str, holder: str) -> None:
        """Free the lock of ``key``; ValueError if ``holder`` does not hold it."""
        with self._guard:
            if not self.is_lock_holder(key, holder):
                raise ValueError(f"no lock held by {holder} for {key}")
            handle, _ = self._held.pop(key)
            os.close(handle)

    def is_locked(self, key: str) -> bool:
        """Whether this or another process holds the lock of ``key``."""
        if key in self._held:
            return True
        try:
            handle = os.open(self.folder / key, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether ``holder`` has the lock of ``key`` in this process."""
        return key in self._held and self._held[key][1] == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock of ``key``; False if ``timeout`` seconds passed first."""
        for _ in _tries(timeout):
            if not self.is_locked(key):
                return True
            time.sleep(POLL)
        return False

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """As :meth:`wait_for_lock`, without blocking the event loop."""
        for _ in _tries(timeout):
            if not self.is_locked(key):
                return True
            await asyncio.sleep(POLL)
        return False
