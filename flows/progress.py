"""How a stage says how far it is, as part of a flow and outside of one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tqdm import tqdm

SOON, OFTEN = 2.0, 10.0
"""Seconds until the log first says how far a stage is, and between its lines after that."""


def in_flow() -> bool:
    """Whether this is part of a flow; Prefect is not imported to say so."""
    prefect = sys.modules.get("prefect.context")
    return prefect is not None and prefect.FlowRunContext.get() is not None


def teller() -> Callable[[str], None]:
    """What a line is said with: the log of the flow that runs, whatever thread says it, or else standard output."""
    if not in_flow():
        return partial(print, flush=True)
    from prefect import get_run_logger

    return partial(get_run_logger().info, "%s")


def bar(stage: str, total: int, shown: bool = True) -> tqdm[Any]:
    """In a terminal."""
    return tqdm(total=total, desc=stage, unit="item", disable=not (shown and sys.stderr.isatty()), leave=False)


class Told:
    """A line (:func:`teller`) after two seconds, then every ten, and one at the end of what took so long."""

    def __init__(self, stage: str, what: str) -> None:
        self._stage, self._what = stage, what
        self._tell, self._next = teller(), time.monotonic() + SOON

    def __call__(self, done: int, total: int) -> None:
        late = time.monotonic() >= self._next
        if late:
            self._next = time.monotonic() + OFTEN
        if late or (done == total):
            self._tell(f"{self._stage}: {done} of {total} {self._what}")
