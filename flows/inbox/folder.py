"""The folder of an inspection: where files lie, and the moves that bring them on.

Files change their place by renames within one file system, so that each is in one place at any moment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from flows.inbox.arrival import Arrival, settled, written_lately
from nand_core.artifacts.disk import TEMPORARY, replacing
from nand_core.errors import NandError, nearest, printable

UNFINISHED = (".part", ".tmp")
PROJECT = ("artifacts", "results", "data", "weights", "nand", "nand_core", "tasks", "flows")


@dataclass(frozen=True)
class Folder:
    """``inbox``, ``taken``, ``done`` and ``quarantine``, each with a folder a class; ``rows`` and ``overlays``.

    ``taken`` holds the few images that are being inspected: under a name of the inbox a line can put another
    image at any moment.
    """

    root: Path

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Yields whether this is the only inspection of the folder; the kernel lets go when a process ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def prepare(self, classes: Collection[str]) -> None:
        """Make the folders, and remove what a killed inspection left half-written.

        Raises
        ------
        NandError
            When one of them is a link, a file or another file system.
        """
        device = self.root.stat().st_dev
        for place in ("inbox", "taken", "done", "quarantine"):
            for path in (self.root / place, *(self.root / place / name for name in classes)):
                if not path.is_symlink():
                    with suppress(FileExistsError):
                        path.mkdir(exist_ok=True)
                found = path.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_dev != device:
                    raise NandError(f"{path}: has to be a folder in the file system of {self.root}; move it away")
        # Only while images are taken anything is written; what was written over the years need not be searched.
        if any(map(self.taken, classes)):
            for place in ("rows", "overlays", "quarantine"):
                for path in (self.root / place).rglob(f"{TEMPORARY}*"):
                    path.unlink(missing_ok=True)

    def now(self) -> float:
        """The time by the file system's own clock, in seconds."""
        clock = self.root / ".clock"
        clock.touch()
        return clock.stat().st_mtime

    def taken(self, class_name: str) -> list[str]:
        """Names of what is being inspected."""
        return sorted(os.listdir(self.root / "taken" / class_name))

    def is_complete(self, path: Path, settle: float) -> bool:
        """Whether a file that was taken is still as complete as it was; False where it is gone."""
        try:
            return not written_lately(path.lstat(), self.now(), settle)
        except FileNotFoundError:
            return False

    def arrivals(self, class_name: str, settle: float) -> list[str]:
        """Names in the inbox of what is complete, the oldest first."""
        now, found = self.now(), []
        for entry in self._dropped(class_name):
            try:
                file = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(file.st_mode) and settled(file, now, settle):
                found.append((file.st_mtime, entry.name))
        return [name for _, name in sorted(found)]

    def waiting(self, class_name: str) -> int:
        """How many files lie in the inbox or are being inspected."""
        dropped = sum(not entry.is_dir(follow_symlinks=False) for entry in self._dropped(class_name))
        return dropped + len(self.taken(class_name))

    def strangers(self, classes: Collection[str]) -> list[str]:
        """One line for everything in the inbox that stays there because it belongs to no class."""
        lines = []
        for path in sorted((self.root / "inbox").iterdir()):
            if path.name in classes:
                inside = [Path(entry) for entry in self._dropped(path.name) if entry.is_dir(follow_symlinks=False)]
                lines += [f"{one}: a folder in a class's inbox stays as it is; drop its images into {path}"
                          for one in inside]  # fmt: skip
            elif path.is_dir() and not path.is_symlink():
                lines.append(f"{path}: stays as it is, no such class{nearest(path.name, classes)}")
            elif not path.name.startswith("."):
                lines.append(f"{path}: stays as it is; drop images into the folder of their class")
        return list(map(printable, lines))

    def take(self, class_name: str, name: str) -> Path | None:
        """Where a file is read: taken out of the inbox unless it was before; None where it is gone."""
        path = self.root / "taken" / class_name / name
        if not os.path.lexists(path):
            try:
                os.rename(self.root / "inbox" / class_name / name, path)
            except FileNotFoundError:
                return None
        return path

    def is_done(self, class_name: str, arrival: Arrival) -> bool:
        """Whether the same image, by name and content, came before."""
        return (self.root / "done" / class_name / arrival.kept_name).exists()

    def finish(self, class_name: str, arrival: Arrival) -> None:
        """Move on an image whose row is safe."""
        self._move(class_name, arrival, "done")

    def refuse(self, class_name: str, arrival: Arrival) -> None:
        """Write down what is wrong with a file, then move it into the quarantine."""
        target = self.root / "quarantine" / class_name / arrival.kept_name
        with replacing(target.with_name(f"{target.name}.reason.txt")) as temporary:
            temporary.write_text(arrival.reason + "\n", encoding="utf-8")
        self._move(class_name, arrival, "quarantine")

    def _move(self, class_name: str, arrival: Arrival, place: str) -> None:
        # What lies there already has the same id: it is the same file once more.
        os.replace(
            self.root / "taken" / class_name / arrival.name, self.root / place / class_name / arrival.kept_name
        )

    def _dropped(self, class_name: str) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self.root / "inbox" / class_name) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and not entry.name.lower().endswith(UNFINISHED):
                    yield entry


def below_checkout(folder: str) -> Path:
    """``folder`` as a path of the checkout that is free for an inspection.

    Raises
    ------
    NandError
        For an absolute path, one with ``..``, and for folders of the project itself.
    """
    path = Path(folder)
    inside = path.parts and not path.is_absolute() and not any(part.startswith(".") for part in path.parts)
    if not inside or path.parts[0] in PROJECT or not folder.isprintable():
        raise NandError(f"folder: {folder!r} cannot hold an inspection; name one inside the checkout, as 'inspection'")
    return path
