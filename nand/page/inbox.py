"""What ``inspect`` saw on one day: by hour, and each image that it rejected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path

from flows.inbox.rows import backwards
from nand_core.errors import NandError

COLUMNS = ("name", "id", "time", "detector", "score_after", "threshold_after", "alarm_after", "overlay")
MOST = 20_000
"""Rows of a class that are looked back upon at most."""
SHOWN = 500
"""Rejected images of a class that are shown at most, the newest first."""


@dataclass(frozen=True)
class Rejected:
    """An image that raised an alarm."""

    id: str
    name: str
    time: datetime
    score: float
    limit: float


@dataclass
class Day:
    """One class on one day of this machine's clock.

    Attributes:
        hours: (images, rejected) of each of the 24 hours.
        rejected: the newest first.
        before: the day before with any image; None where there is none, or none within ``MOST`` rows.
        cut: there were more than ``MOST`` rows to look at.
    """

    class_name: str
    hours: list[tuple[int, int]]
    rejected: list[Rejected] = field(default_factory=list)
    before: date | None = None
    cut: bool = False

    @property
    def images(self) -> int:
        return sum(images for images, _ in self.hours)

    @property
    def alarms(self) -> int:
        return sum(alarms for _, alarms in self.hours)


def day_of(root: Path, class_name: str, day: date) -> Day:
    """What the rows of a class say of a day.

    Raises
    ------
    NandError
        When a part of the rows is not readable.
    """
    found, images, alarms, looked = Day(class_name, []), Counter[int](), Counter[int](), 0
    for row in islice(backwards(root / "rows" / class_name, list(COLUMNS)), MOST):
        looked += 1
        when: datetime = row["time"].astimezone()
        if when.date() > day:
            continue
        if when.date() < day:
            found.before = when.date()
            break
        images[when.hour] += 1
        if row["alarm_after"]:
            alarms[when.hour] += 1
            if len(found.rejected) < SHOWN:
                one = Rejected(row["id"], row["name"], when, row["score_after"], row["threshold_after"])
                found.rejected.append(one)
    found.cut = looked == MOST
    found.hours = [(images[hour], alarms[hour]) for hour in range(24)]
    return found


def line_image(root: Path, class_name: str, key: str) -> Path:
    """The file of an image that the line dropped, by the id of its row.

    Raises
    ------
    NandError
        When it was moved away.
    """
    found = sorted((root / "done" / class_name).glob(f"{key}-*"))
    if not found or found[0].is_symlink() or not found[0].is_file():
        raise NandError(f"the image {key} is not in {root / 'done' / class_name} any more")
    return found[0]


def line_overlay(root: Path, class_name: str, key: str) -> bytes:
    """The picture that ``inspect`` made of it, WebP.

    Raises
    ------
    NandError
        When it was moved away.
    """
    path = root / "overlays" / class_name / f"{key}.webp"
    if path.is_symlink() or not path.is_file():
        raise NandError(f"{path}: not there any more")
    return path.read_bytes()
