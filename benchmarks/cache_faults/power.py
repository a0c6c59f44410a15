"""A store on a disk that loses what was not synced when the power fails, and on one that fails at any call."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import Store
from nand_core.artifacts.usage import remove, superfluous, survey


@dataclass(frozen=True)
class Step:
    """What a program did to the disk: ``sync`` of a file or folder, ``rename``, ``remove`` or ``folder`` (made).

    ``content`` is that of the file, at a sync or rename; ``file`` tells files apart, whatever they are called.
    """

    what: str
    path: Path
    file: int = 0
    content: bytes = b""


@dataclass
class Disk:
    """What was done below ``root``, in order, and what is left of it when the power fails."""

    root: Path
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Write down what is done to the disk in this block; it is not waited for."""
        kept = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "mkdir")}

        def fsync(handle: int) -> None:
            path, found = Path(os.readlink(f"/proc/self/fd/{handle}")), os.fstat(handle)
            content = path.read_bytes() if path.is_file() else b""
            self._note("sync", path, found.st_ino, content)

        def replace(source: Any, target: Any) -> None:
            number, content = os.stat(source).st_ino, Path(source).read_bytes()
            kept["replace"](source, target)
            self._note("rename", Path(target), number, content)

        def unlink(path: Any, **named: Any) -> None:
            kept["unlink"](path, **named)
            self._note("remove", Path(path))

        def mkdir(path: Any, *rest: Any, **named: Any) -> None:
            kept["mkdir"](path, *rest, **named)
            self._note("folder", Path(path))

        made = {"fsync": fsync, "replace": replace, "unlink": unlink, "mkdir": mkdir}
        for name, function in made.items():
            setattr(os, name, function)
        try:
            yield
        finally:
            for name, function in kept.items():
                setattr(os, name, function)

    def _note(self, what: str, path: Path, file: int = 0, content: bytes = b"") -> None:
        if path == self.root or self.root in path.parents:
            self.steps.append(Step(what, path.relative_to(self.root), file, content))

    def after_power_loss(self, done: int, chance: random.Random, target: Path) -> None:
        """Make of ``target`` what a disk can hold when the power fails after so many steps.

        Names that are not synced with their folder are there or not, each for itself, whatever their order was; a file
        that is not synced is whole, cut off, empty or zeros.
        """
        certain: list[Step] = []
        pending: list[Step] = []
        synced: dict[int, bytes] = {}
        for step in self.steps[:done]:
            if step.what != "sync":
                pending.append(step)
            elif step.file and step.content:
                synced[step.file] = step.content
            if step.what == "sync":
                certain += [one for one in pending if one.path.parent == step.path]
                pending = [one for one in pending if one.path.parent != step.path]
        survived = {id(one) for one in (*certain, *(one for one in pending if chance.random() < 0.5))}
        target.mkdir(parents=True)
        for step in (one for one in self.steps[:done] if id(one) in survived):
            path = target / step.path
            if not path.parent.is_dir():  # a name in a folder that was lost
                continue
            if step.what == "folder":
                path.mkdir(exist_ok=True)
            elif step.what == "remove":
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(synced.get(step.file, _torn(step.content, chance)))


def _torn(content: bytes, chance: random.Random) -> bytes:
    cut = chance.randrange(len(content) + 1)
    return chance.choice((content, content[:cut], b"", bytes(len(content)), content[:cut] + bytes(len(content) - cut)))


FAULTS: tuple[Callable[[], Exception], ...] = (
    lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
    lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    MemoryError,
)
CALLS = ("open", "fsync", "replace", "unlink", "mkdir", "utime", "stat", "fstat", "scandir", "listdir")
"""Functions of ``os`` that fail; and so does the opening of files by Python's own ``open``."""


@contextmanager
def failing(number: int, fault: Callable[[], Exception]) -> Iterator[list[str]]:
    """Let the call of the disk with a number, from 0, fail once; yields the names of the calls that were made."""
    kept, made = {name: getattr(os, name) for name in CALLS}, []
    fsync, kept["fsync"] = os.fsync, int
    opened = io.open

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            made.append(name)
            if len(made) - 1 == number:
                raise fault()
            return function(*given, **named)

        return call

    for name, function in kept.items():
        setattr(os, name, counted(name, function))
    io.open = counted("io.open", opened)  # type: ignore[assignment]  # pathlib's
    try:
        yield made
    finally:
        for name, function in (kept | {"fsync": fsync}).items():
            setattr(os, name, function)
        io.open = opened


CONTENT = {f"task-{number}": bytes([65 + number]) * (10 + 700 * number) for number in range(6)}
CONTENT |= {"other-0": CONTENT["task-1"]}
"""What the items of :func:`work` give, by their keys; two of them the same."""
SETTINGS = [b"first: settings\n", b"second: settings, which are longer\n", b"third\n"]
REMOVED = "task-5"


def work(folder: Path, told: Callable[[str, bytes], object] = lambda key, data: None) -> None:
    """Compute items and look them up, write settings, copy an out, prune; ``told`` of what is there from now on."""
    store = Store(root=folder / "store")
    written = iter(SETTINGS)
    with store.hold():
        for key, data in CONTENT.items():
            if store.lookup(key) is None:
                store.note(key, store.put(data, "npz"))
            told(key, data)
            if key.endswith(("0", "3")) and (now := next(written, None)) is not None:
                with replacing(folder / "params.yaml") as temporary:
                    temporary.write_bytes(now)
                told("params.yaml", now)
        if found := store.lookup("task-1"):
            store.materialise({"maps.npz": found}, folder / f"out-{os.getpid()}")  # a run has its own
    told(REMOVED, b"")
    with store.hold(alone=True):
        usage = survey(store)
        remove(store, usage, superfluous(usage, keep={*CONTENT} - {REMOVED}))


def faults(folder: Path, promised: dict[str, bytes]) -> list[str]:
    """What is wrong with what lies in a folder after a fault: wrong bytes, or something promised that is not there."""
    store, wrong = Store(root=folder / "store"), []
    for key, data in CONTENT.items():
        found = store.lookup(key)
        if found is not None and store.path(found).read_bytes() != data:
            wrong.append(f"{key}: other bytes")
        if found is None and promised.get(key):
            wrong.append(f"{key}: lost")
    settings, last = folder / "params.yaml", promised.get("params.yaml")
    allowed = SETTINGS[SETTINGS.index(last) :] if last else SETTINGS
    if settings.exists() or last:
        held = settings.read_bytes() if settings.exists() else None
        wrong += [] if held in allowed else [f"settings: {held!r}"]
    return wrong


def recorded(folder: Path) -> tuple[Disk, list[tuple[int, str, bytes]]]:
    """The disk under :func:`work`, and after how many steps what was promised."""
    disk, promises = Disk(folder), []
    with disk.watched():
        work(folder, lambda key, data: promises.append((len(disk.steps), key, data)))
    return disk, promises


def power_lost(
    disk: Disk, promises: list[tuple[int, str, bytes]], done: int, chance: random.Random, folder: Path
) -> list[str]:
    """Let the power fail after so many steps, look at what is left, and go on from there: what is wrong."""
    disk.after_power_loss(done, chance, folder)
    wrong = faults(folder, {key: data for when, key, data in promises if when <= done})
    with Disk(folder).watched():
        work(folder)
    wrong += faults(folder, {**CONTENT, "params.yaml": SETTINGS[-1], REMOVED: b""})
    shutil.rmtree(folder)
    return wrong


def call_failed(number: int, fault: Callable[[], Exception], folder: Path) -> tuple[bool, list[str]]:
    """Let the call with this number fail, then go on: whether there was such a call, and what is wrong."""
    folder.mkdir()
    promised: dict[str, bytes] = {}
    with failing(number, fault) as made, suppress(ValueError, OSError, MemoryError):
        work(folder, promised.__setitem__)
    wrong = faults(folder, {key: data for key, data in promised.items() if key == "params.yaml"})
    held = Store(root=folder / "store").hold(alone=True, wait=False)
    if held is None:
        wrong.append("the store is still held")
    else:
        held.close()
        with Disk(folder).watched():
            work(folder)
        wrong += faults(folder, {**CONTENT, "params.yaml": SETTINGS[-1], REMOVED: b""})
    shutil.rmtree(folder)
    return number < len(made), wrong
