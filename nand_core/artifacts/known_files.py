"""What was read out of files, remembered by their size, times and inode: large ones are read once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from nand_core.artifacts.disk import replacing

Read = TypeVar("Read")
SETTLED = 2.0
"""Seconds after its last change from which on a file that is changed again shows it in its times."""


class KnownFiles:
    """Answers about files, kept in a JSON file; a damaged one is begun anew.

    Args:
        path: of the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: dict[str, list[Any]] = _read(path)
        self._now: dict[str, list[Any]] = {}

    def ask(self, path: Path, kind: str, read: Callable[[Path], Read]) -> Read:
        """What ``read`` makes of a file, as JSON can hold it; asked again only when the file is another one."""
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
        name = f"{kind} {os.path.abspath(path)}"
        known = self._now.get(name) or self._before.get(name)
        if known and known[0] == state:
            self._now[name] = known
            return cast(Read, known[1])
        answer = read(path)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED * 1e9:
            self._now[name] = [state, answer]
        return answer

    def save(self) -> None:
        """Keep what was asked since this was opened; what nobody asked for any more is forgotten."""
        if self._now != self._before:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as temporary:
                temporary.write_text(json.dumps(self._now), encoding="utf-8")


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
