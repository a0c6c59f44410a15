"""What the page frees goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress

MMAP_THRESHOLD, ARENA_MAX = -3, -8
"""Of glibc's mallopt."""


def give_back() -> None:
    """Once, before there are threads; without glibc nothing happens.

    Maps of several MB are made and freed by a few threads at once. By itself glibc begins to take such sizes from a
    heap of each thread, of which only the end is ever given back.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, 1 << 20)
        mallopt(ARENA_MAX, 2)
