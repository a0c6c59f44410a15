"""What a disk can refuse, as one line; and files that appear whole or not at all, whenever the power fails."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nand_core.errors import NandError

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSALS = FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOLCK}


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while something under ``path`` is written into one line.

    Raises
    ------
    NandError
        When the disk is full, read-only or otherwise not writable.
    """
    try:
        yield
    except NandError:
        raise
    except Exception as error:
        refused = _refusal(error)
        if refused is None:
            raise
        number, where = refused
        # Copying names its source, whichever of the two has no room.
        if where is None or number in FULL or path.absolute() in Path(where).absolute().parents:
            where = str(path)
        message = f"{where}: {os.strerror(number)}; make room or change the rights, then run again"
        raise NandError(f"{message} (what was finished is kept)") from error


def _refusal(error: BaseException | None) -> tuple[int, str | None] | None:
    """Error number and file; zipfile and safetensors hide the system's error behind one of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in REFUSALS:
            return error.errno, error.filename if isinstance(error.filename, str) else None
        if (found := re.search(r"\(os error (\d+)\)", str(error))) and int(found[1]) in REFUSALS:
            return int(found[1]), None
        error = error.__cause__ or error.__context__
    return None


def require_room(folder: Path, least: int = 2**26) -> None:
    """Refuse to begin with fewer than ``least`` bytes free: a database on a full disk fails without a reason.

    Raises
    ------
    NandError
        When there is no room, or the folder cannot be written.
    """
    with temporary_file(folder, ""):
        free = shutil.disk_usage(folder).free
    if free < least:
        raise NandError(f"{folder}: {free / 1e6:.0f} MB are free, {least / 1e6:.0f} MB needed; make room")


@contextmanager
def temporary_file(folder: Path, suffix: str) -> Iterator[Path]:
    """A new file in ``folder``, gone after the block unless it was renamed."""
    path = folder / f"{TEMPORARY}{uuid.uuid4().hex}{suffix}"
    with refusals(folder):
        try:
            make_folder(folder)
            path.touch(exist_ok=False)
            yield path
        finally:
            # On a file system that became read-only this fails too, and would hide what went wrong.
            with suppress(OSError):
                path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place for good when the block ends without an error.

    Raises
    ------
    NandError
        When the disk is full or the folder cannot be written; nothing half-written is left.
    """
    with temporary_file(path.parent, path.suffix) as temporary:
        yield temporary
        put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file to ``path``, in a folder that is made where there is none.

    When this returns, it is on the disk and stays there without power; before, ``path`` is what it was. What is written
    afterwards, such as a record that names the file, never gets to the disk before it.
    """
    sync(temporary)
    make_folder(path.parent)
    os.replace(temporary, path)
    sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, for good."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot do so for folders
            raise
    finally:
        os.close(handle)
