"""Which photographs show the same part: what was learned from one of them is no test of the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from nand_core.datasets.files import listed
from nand_core.datasets.layout import Row
from nand_core.datasets.settings import PartSettings
from nand_core.errors import NandError

if TYPE_CHECKING:
    import pandas as pd

JUDGED = ("class", "type", "group", "path")


def named_parts(paths: Collection[str], settings: PartSettings) -> dict[str, str]:
    """The part that each of a class's images shows: the text that stands for it in its path.

    With ``within``, the smallest number of a series: sorted, neighbours that differ by at most that belong together.

    Raises:
        NandError: a path in which ``name`` is not found, or where it is no number though ``within`` is set.
    """
    found = {path: re.search(settings.name, path) for path in paths}
    if strange := sorted(path for path, match in found.items() if match is None or not match[1]):
        raise NandError(f"dataset.part.name: {settings.name!r} is not found in {listed(strange)}; correct it")
    texts = {path: match[1] for path, match in found.items() if match is not None}
    if not settings.within:
        return texts
    if strange := sorted(path for path, text in texts.items() if not text.isdecimal()):
        raise NandError(f"dataset.part.within needs numbers: {settings.name!r} finds none in {listed(strange)}")
    first: dict[int, int] = {}
    last = None
    for number in sorted({int(text) for text in texts.values()}):
        first[number] = first[last] if last is not None and number - last <= settings.within else number
        last = number
    return {path: str(first[int(text)]) for path, text in texts.items()}


def check_parts(rows: Iterable[Row], parts: dict[str, str]) -> None:
    """NandError for parts that are both learned from and tested."""
    splits: dict[str, dict[str, str]] = {}
    for row in rows:
        splits.setdefault(parts[row.path], {}).setdefault(row.split, row.path)
    both = sorted(" and ".join(sorted(found.values())) for found in splits.values() if len(found) > 1)
    if both:
        raise NandError(
            f"dataset.part: {len(both)} parts are in training and in test: {listed(both)}; move the one or the other"
        )


def part_of(rows: pd.DataFrame) -> pd.Series[str]:
    """Of rows of a manifest; by default every image shows a part of its own."""
    return rows["part"] if "part" in rows else rows["path"]


def of_parts(rows: pd.DataFrame, paths: Collection[str]) -> pd.Series[bool]:
    """Which rows show the same parts as the images at ``paths``, these included."""
    parts = part_of(rows)
    return parts.isin(parts[rows["path"].isin(set(paths))])


def judged_rows(rows: pd.DataFrame) -> tuple[dict[str, str], ...]:
    """What a judgement reads of a manifest's rows."""
    columns = [*JUDGED, *(["part"] if "part" in rows else [])]
    return tuple({str(name): value for name, value in row.items()} for row in rows[columns].to_dict("records"))
