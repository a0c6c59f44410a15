"""What the tests of the inspection share: a line that drops files, and a judge that needs no model."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from flows.inbox.folder import Folder
from flows.inbox.judge import Verdict
from flows.inbox.rounds import Rounds
from nand_core.artifacts.disk import TEMPORARY

LONG_AGO = 1_000_000_000


def png(grey: int, side: int = 8) -> bytes:
    """A plain image."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


def drop(root: Path, name: str, data: bytes, class_name: str = "carpet", when: float = LONG_AGO) -> Path:
    """A file in the inbox, last written to at ``when``."""
    path = root / "inbox" / class_name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (when, when))
    return path


@dataclass
class Brightness:
    """Judges by the mean grey value; ``cannot`` judge images of these."""

    cannot: set[int] = field(default_factory=set)
    name: str = "brightness"
    threshold_before: float = 100.0
    threshold_after: float = 60.0
    normalities: tuple = ()
    sizes: list[int] = field(default_factory=list)

    def __call__(self, ids, images) -> list[Verdict]:
        self.sizes.append(len(images))
        values = [float(np.asarray(image).mean()) for image in images]
        if self.cannot & set(map(int, values)):
            raise RuntimeError("the map is not finite")
        return [Verdict(value, value / 2, np.full((256, 256), value / 2, dtype=np.float32)) for value in values]


def prepared(root: Path, *classes: str) -> Folder:
    folder = Folder(root)
    folder.prepare(classes or ("carpet",))
    return folder


def inspect(root: Path, judge: Brightness | None = None, classes: tuple[str, ...] = ("carpet",), **settings) -> list:
    """One inspection; its batches."""
    root.mkdir(parents=True, exist_ok=True)
    judge = judge or Brightness()
    return list(Rounds(prepared(root, *classes), classes, lambda _: judge, **{"settle": 5.0, "most": 2, **settings}))


def rows(root: Path) -> pd.DataFrame:
    """All rows; without columns of their own where there is none."""
    written = any((root / "rows").rglob("[0-9]*.parquet"))
    return pd.read_parquet(root / "rows") if written else pd.DataFrame({"name": [], "id": []})


def names(root: Path, place: str, class_name: str = "carpet") -> list[str]:
    """What lies in a place, without the ids in front of the names, and without what is half-written."""
    found = [path.name for path in (root / place / class_name).glob("*") if not path.name.startswith(TEMPORARY)]
    if place in ("done", "quarantine"):
        found = [name.partition("-")[2] for name in found]
    return sorted(found)
