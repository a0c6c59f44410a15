"""What the page frees goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Of glibc's mallopt."""
MB = 1 << 20


def give_back() -> None:
    """Once, before there are threads; without glibc nothing happens.

    Maps of several MB are made and freed by a few threads at once. By itself glibc begins to take such sizes from a
    heap of each thread, of which only the end is ever given back. So there are two heaps, from which nothing large is
    taken; of their ends enough is kept that an answer does not fault the same pages anew for each image.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(ARENA_MAX, 2)
        mallopt(MMAP_THRESHOLD, 16 * MB)
        mallopt(TRIM_THRESHOLD, 64 * MB)
