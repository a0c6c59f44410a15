"""What a store holds, and what of it may go."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nand_core.artifacts.disk import TEMPORARY, refusals, replacing
from nand_core.artifacts.store import Record, Store
from nand_core.errors import NandError

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {f"{letter}iB": 2 ** (10 * i) for i, letter in enumerate("KMGT", 1)}


@dataclass(frozen=True)
class Held:
    """An object and the keys of the records that name it; ``used`` is when the last of them was (s since 1970)."""

    path: Path
    size: int
    used: float
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Usage:
    """A store's content.

    Attributes:
        held: what items can be answered with, the least recently used first.
        orphans: objects that no record names; an interrupted run leaves them.
        broken: records that are unreadable or whose object is gone.
        temporary: files that a killed run was writing.
    """

    held: tuple[Held, ...] = ()
    orphans: tuple[Path, ...] = ()
    broken: tuple[Path, ...] = ()
    temporary: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the objects in ``held``."""
        return sum(one.size for one in self.held)


def task_of(key: str) -> str:
    """The task whose item a key names."""
    return key.rpartition("-")[0]


def survey(store: Store) -> Usage:
    """Look at every file of a store without reading the objects; runs may go on meanwhile.

    Of a time of use that is yet to come, from a clock that was set back, nothing is known: it counts as now.
    """
    now = time.time()
    temporary = list(_files(store.root / "tmp"))
    sizes: dict[Path, int] = {}
    for path in _files(store.root / "objects"):
        sizes[path] = _stat(path)[0]
    named: dict[Path, list[tuple[str, float]]] = {}
    broken = []
    for path in _files(store.records):
        if path.name.startswith(TEMPORARY):
            temporary.append(path)
            continue
        try:
            of = store.path(Record.model_validate_json(path.read_bytes()))
        except FileNotFoundError:
            continue
        except ValidationError:
            of = None
        if of in sizes:
            named.setdefault(of, []).append((path.name, _stat(path)[1]))
        else:
            broken.append(path)
    held = [
        Held(path, sizes[path], min(now, max(used for _, used in records)), tuple(key for key, _ in records))
        for path, records in named.items()
    ]
    held.sort(key=lambda one: (one.used, one.path))
    return Usage(tuple(held), tuple(sorted(set(sizes) - set(named))), tuple(broken), tuple(sorted(temporary)))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _stat(path: Path) -> tuple[int, float]:
    """Size and time of change of a file that may just have gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0.0
    return found.st_size, found.st_mtime


def superfluous(
    usage: Usage, keep: Set[str] = frozenset(), before: float | None = None, max_size: int | None = None
) -> list[Held]:
    """What goes: nothing that a key of ``keep`` names; of the rest, what was last used ``before`` and then the least
    recently used until no more than ``max_size`` bytes are left; all of the rest when neither is given.
    """
    rest = [one for one in usage.held if keep.isdisjoint(one.keys)]
    if before is None and max_size is None:
        return rest
    gone = [one for one in rest if before is not None and one.used < before]
    left = usage.size - sum(one.size for one in gone)
    for one in rest[len(gone) :]:
        if max_size is None or left <= max_size:
            break
        gone.append(one)
        left -= one.size
    return gone


def remove(store: Store, usage: Usage, gone: Iterable[Held]) -> None:
    """Remove ``gone`` and all that is of no use: orphans, broken records, temporary files, locks of no record.

    The caller holds the store alone. A record goes before its object: interrupted at any moment, this leaves
    at worst objects without a record.
    """
    keys = {key for one in usage.held for key in one.keys}
    with refusals(store.root):
        for one in gone:
            for key in one.keys:
                (store.records / key).unlink(missing_ok=True)
                keys.discard(key)
            one.path.unlink(missing_ok=True)
        for path in (*usage.broken, *usage.orphans, *usage.temporary):
            path.unlink(missing_ok=True)
        for path in _files(store.locks):
            if path.name not in keys:
                path.unlink(missing_ok=True)


def parse_size(text: str) -> int:
    """Bytes of ``500MB``, ``1.5 GiB``, ``1000``.

    Raises
    ------
    NandError
        When it is no such size.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) *([A-Za-z]*)", text.strip())
    units = {name.lower(): factor for name, factor in UNITS.items()}
    if found is None or (found[2] or "B").lower() not in units:
        raise NandError(f"{text!r} is not a size; write a number and one of {', '.join(UNITS)}, such as 10GB")
    return int(float(found[1]) * units[(found[2] or "B").lower()])


def note_current(folder: Path, stage: str, keys: Iterable[str]) -> None:
    """Remember in ``folder`` which items the complete run of a stage used."""
    with replacing(folder / f"{stage}.json") as temporary:
        temporary.write_text(json.dumps(sorted(keys), indent=0) + "\n")


def current_keys(folder: Path, stages: Iterable[str]) -> set[str]:
    """The items behind the current results: those of every stage's last complete run.

    Raises
    ------
    NandError
        When a stage never ran here, so that nobody knows what its results need.
    """
    keys: set[str] = set()
    for stage in stages:
        path = folder / f"{stage}.json"
        try:
            keys.update(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise NandError(
                f"{path}: not there or not readable, so what the current results of {stage} need is not known; "
                "run the stage here (dvc repro --force --single-item), or prune by --older-than or --max-size"
            ) from error
    return keys
