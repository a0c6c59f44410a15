"""The rows of inspected images: parts of a table, each written once and whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nand_core.artifacts.disk import replacing
from nand_core.errors import NandError

SCHEMA = pa.schema(
    [
        ("class", pa.string()),
        ("name", pa.string()),
        ("id", pa.string()),
        ("sha256", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("detector", pa.string()),
        ("score_before", pa.float64()),
        ("score_after", pa.float64()),
        ("threshold_before", pa.float64()),
        ("threshold_after", pa.float64()),
        ("alarm_before", pa.bool_()),
        ("alarm_after", pa.bool_()),
        ("normalities", pa.list_(pa.string())),
        ("commit", pa.string()),
        ("overlay", pa.string()),
    ]
)
"""Columns of every part."""


def newest(folder: Path) -> Path | None:
    """The part with the highest number; None where there is none yet."""
    parts = [path for path in folder.glob("*.parquet") if path.stem.isdecimal()]
    return max(parts, key=lambda path: int(path.stem), default=None)


def write_part(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Add rows (``SCHEMA``) as the next part; when this returns they outlast a loss of power."""
    last = newest(folder)
    path = folder / f"{int(last.stem) + 1 if last else 1:08}.parquet"
    with flushed(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), temporary)
    flush(folder)
    flush(folder.parent)  # the folder may be new
    return path


def newest_ids(folder: Path) -> set[str]:
    """The ids in the newest part.

    Raises
    ------
    NandError
        When it is not readable.
    """
    path = newest(folder)
    return {row["id"] for row in _read(path, ["id"])} if path else set()


def backwards(folder: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows from the newest on, back to the first part that was moved away; one part at a time is read.

    Raises
    ------
    NandError
        When a part is not readable.
    """
    path = newest(folder)
    while path is not None and path.exists():
        yield from reversed(_read(path, columns))
        path = folder / f"{int(path.stem) - 1:08}.parquet"


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns)).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise NandError(f"{path}: not a readable part of rows ({error}); move it out of {path.parent}") from error
    return rows


@contextmanager
def flushed(path: Path) -> Iterator[Path]:
    """A temporary file whose content is on the disk before it takes the place of ``path``."""
    with replacing(path) as temporary:
        yield temporary
        flush(temporary)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
