"""A content-addressed store: the bytes of every task result, named by their sha256.

``objects/ab/abcd....npz`` holds the bytes and is written once, by a rename. ``records/<key>`` says which object an
item gave; its time of change is when it was last used. A hit counts only when the object is there and has the
right digest.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, overload

from pydantic import Field, ValidationError

from nand_core.artifacts.disk import make_folder, put_in_place, refusals, replacing, temporary_file
from nand_core.settings import Settings

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE})
"""What the system says of a file that cannot be had any more: it counts as missing, and is computed again."""


class Record(Settings):
    """What a task returns instead of a path: the name of its bytes in the store."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    ext: str = Field(pattern=r"^[a-z0-9]{1,16}$")
    size: int = Field(ge=0)


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """The sha256 of plain JSON with sorted keys: equal content gives equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Store(Settings):
    """The store under one folder; several processes may use it at once."""

    root: Path

    @property
    def records(self) -> Path:
        """Folder of the task cache's records, one JSON file a key."""
        return self.root / "records"

    def lookup(self, key: str) -> Record | None:
        """The record of ``key``, marked as used now; it is dropped unless it is readable and its object intact."""
        path, record = self.records / key, None
        try:
            with path.open("rb") as file:
                read = os.fstat(file.fileno())
                with suppress(ValidationError):
                    record = Record.model_validate_json(file.read())
        except OSError as error:
            if error.errno not in GONE:
                raise
            return None
        if record is None or not self.holds(record):
            drop(path, read)
            return None
        with suppress(OSError):  # of another user in a shared store: then it counts as older than it is
            os.utime(path)
        return record

    def note(self, key: str, record: Record) -> None:
        """Remember what the item of ``key`` gave."""
        with replacing(self.records / key) as temporary:
            temporary.write_text(record.model_dump_json())

    @overload
    def hold(self, alone: bool = False, wait: Literal[True] = True) -> BinaryIO: ...

    @overload
    def hold(self, alone: bool = False, *, wait: bool) -> BinaryIO | None: ...

    def hold(self, alone: bool = False, wait: bool = True) -> BinaryIO | None:
        """Keep others from removing things (``alone``: from using them) until the returned file is closed.

        None when ``wait`` is off and others use the store. The kernel lets go when the process ends.
        """
        with refusals(self.root):
            make_folder(self.root)
            file = os.fdopen(os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            try:
                fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
            except OSError as error:
                file.close()
                if isinstance(error, BlockingIOError):
                    return None
                raise
            return file

    @property
    def locks(self) -> Path:
        """Folder of the lock files."""
        return self.root / "locks"

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Alone with the item of ``key`` among all processes and threads; the kernel lets go when a process ends."""
        with refusals(self.locks):
            make_folder(self.locks)
            handle = os.open(self.locks / key, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def path(self, record: Record) -> Path:
        """Where the bytes of ``record`` lie."""
        return self.root / "objects" / record.sha256[:2] / f"{record.sha256}.{record.ext}"

    @contextmanager
    def writing(self, ext: str) -> Iterator[Put]:
        """Write a new object: yields where to, and holds its :class:`Record` after the block."""
        put = Put()
        with temporary_file(self.root / "tmp", f".{ext}") as temporary:
            put.path = temporary
            yield put
            put.record = Record(sha256=sha256_file(temporary), ext=ext, size=temporary.stat().st_size)
            put_in_place(temporary, self.path(put.record))

    def put(self, data: bytes, ext: str) -> Record:
        """Store bytes."""
        with self.writing(ext) as put:
            put.path.write_bytes(data)
        return put.record

    def holds(self, record: Record) -> bool:
        """Whether the object is there with exactly the recorded bytes; a wrong one is removed."""
        path = self.path(record)
        try:
            with path.open("rb") as file:
                seen = os.fstat(file.fileno())
                if hashlib.file_digest(file, "sha256").hexdigest() == record.sha256:
                    return seen.st_size == record.size
            drop(path, seen)
        except OSError as error:
            if error.errno not in GONE:
                raise
        return False

    def materialise(self, records: dict[str, Record], folder: Path) -> None:
        """Make ``folder`` hold exactly ``records`` (relative path -> object).

        Files that are right already are left alone; others are copied to a temporary file and renamed.
        Whatever does not belong is removed first.
        """
        wanted = {folder / relative for relative in records}
        with refusals(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.rglob("*"), reverse=True):
                if path.is_dir() and not path.is_symlink():
                    if not any(path.iterdir()):
                        path.rmdir()
                elif path not in wanted:
                    path.unlink()
        for relative, record in records.items():
            self.materialise_file(record, folder / relative)

    def materialise_file(self, record: Record, path: Path) -> None:
        """Copy one object to ``path`` unless it is there already."""
        if path.is_file() and path.stat().st_size == record.size and sha256_file(path) == record.sha256:
            return
        with replacing(path) as temporary:
            shutil.copyfile(self.path(record), temporary)


def drop(path: Path, seen: os.stat_result) -> bool:
    """Remove a file unless another one has taken its place since it was looked at; whether it is gone."""
    with suppress(FileNotFoundError):
        found = path.stat()
        if (found.st_dev, found.st_ino) != (seen.st_dev, seen.st_ino):
            return False
        path.unlink()
    return True


class Put:
    """Where a new object is written (``path``) and, afterwards, its ``record``."""

    path: Path
    record: Record
