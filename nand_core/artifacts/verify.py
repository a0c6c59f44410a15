"""Every byte of a store compared with its digest; what is damaged is mended or removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nand_core.artifacts.disk import TEMPORARY, refusals
from nand_core.artifacts.remote import SharedStore
from nand_core.artifacts.store import GONE, Record, Store, drop, sha256_file

Progress = Callable[[int, int], None]
"""Called with the bytes read and the bytes in all."""


@dataclass(frozen=True)
class Damage:
    """A file that is not what its name says.

    Attributes:
        path: of the object, or of a record that names none.
        keys: of the records that name it.
        outcome: ``mended`` from the second level; ``removed``, with its records, to be computed again; ``replaced`` by
            a run meanwhile; ``unreadable``, which the system does not let us look at, and which stays.
    """

    path: Path
    keys: tuple[str, ...]
    outcome: Literal["mended", "removed", "replaced", "unreadable"]


@dataclass(frozen=True)
class Verified:
    """What a store held: how many objects, their bytes, and the damage among them and the records."""

    objects: int
    size: int
    damaged: tuple[Damage, ...]


def verify(store: Store, progress: Progress | None = None) -> Verified:
    """Read a store's records and objects, a part of a file in memory at a time. Runs may go on meanwhile.

    Raises:
        NandError: what is damaged can be neither replaced nor removed, for the disk is full or read-only.
    """
    damaged: list[Damage] = []
    named: dict[Path, list[tuple[str, Record]]] = {}
    with refusals(store.root):
        for path in _files(store.records):
            if record := _record(store, path, damaged):
                named.setdefault(store.path(record), []).append((path.name, record))
        found = {path: path.stat().st_size for path in _files(store.root / "objects")}
        total, read = sum(found.values()), 0
        for path in sorted({*found, *named}):
            damaged += _object(store, path, named.get(path, []))
            read += found.get(path, 0)
            if progress:
                progress(read, total)
    return Verified(len(found), total, tuple(damaged))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(TEMPORARY))


def _record(store: Store, path: Path, damaged: list[Damage]) -> Record | None:
    """The record in a file; where it is none, it is fetched again or goes."""
    try:
        with path.open("rb") as file:
            seen = os.fstat(file.fileno())
            return Record.model_validate_json(file.read())
    except FileNotFoundError:  # a run has dropped it meanwhile
        return None
    except ValidationError:
        pass
    except OSError as error:
        if error.errno not in GONE:
            damaged.append(Damage(path, (path.name,), "unreadable"))
            return None
        seen = path.stat()
    drop(path, seen)
    record = store.lookup(path.name)
    damaged.append(Damage(path, (path.name,), "mended" if record else "removed"))
    return record


def _object(store: Store, path: Path, records: list[tuple[str, Record]]) -> Iterator[Damage]:
    """The damage of an object and of the records that name it."""
    keys = tuple(key for key, _ in records)
    seen: os.stat_result | None = None
    try:
        seen = path.stat()
        if sha256_file(path) == path.stem:
            for key, record in records:
                if record.size != seen.st_size:
                    (store.records / key).unlink(missing_ok=True)
                    yield Damage(store.records / key, (key,), "removed")
            return
    except OSError as error:
        if error.errno not in GONE:
            yield Damage(path, keys, "unreadable")
            return
    if isinstance(store, SharedStore) and records and store.mend(records[0][1]):
        yield Damage(path, keys, "mended")
    elif records and store.holds(records[0][1]):
        yield Damage(path, keys, "replaced")
    else:  # records first: interrupted, this leaves an object without a record
        for key in keys:
            (store.records / key).unlink(missing_ok=True)
        yield Damage(path, keys, "removed" if seen is None or drop(path, seen) else "replaced")
