"""One file that the line dropped: what it is called from now on, and its image or why there is none."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from nand_core.datasets.images import read_image
from nand_core.datasets.layout import EXTENSIONS
from nand_core.errors import NandError, printable

LONGEST = 200
"""Bytes of a name that are kept in front of which an id is put."""


@dataclass(frozen=True)
class Arrival:
    """A file as it was read.

    Attributes:
        id: 16 hexadecimal digits of the sha256 of class, name and content.
        sha256: of the content; "" where it cannot be read.
        image: RGB and upright; None where there is none.
        reason: why there is none, one line.
    """

    name: str
    id: str
    sha256: str
    image: Image.Image | None = None
    reason: str = ""

    @property
    def picture(self) -> Image.Image:
        """The image, of a file that has one."""
        if self.image is None:
            raise ValueError(f"{self.name}: has no image ({self.reason})")
        return self.image

    @property
    def kept_name(self) -> str:
        """``<id>-<name>``, from the left shortened to what a file system takes."""
        return f"{self.id}-{os.fsdecode(os.fsencode(self.name)[-LONGEST:])}"


def settled(found: os.stat_result, now: float, settle: float) -> bool:
    """Whether nobody has written to a file for ``settle`` seconds.

    A camera's clock may be ahead and its times preserved: the file system's own time of change bounds them.
    """
    return now - min(found.st_mtime, found.st_ctime) >= settle


def written_lately(found: os.stat_result, now: float, settle: float) -> bool:
    """Whether a file that was complete has been written to since; its move has changed its time of change."""
    return 0 <= now - found.st_mtime < settle


def identify(path: Path, class_name: str) -> str:
    """The id that :func:`read` gives to a file; "" where there is none any more."""
    try:
        with _open(path) as file:
            return image_id(class_name, path.name, _sha256(file))
    except OSError:
        return ""


def read(path: Path, class_name: str, bits: int | None = None) -> Arrival | None:
    """Read and decode a file, from one opening; None where it is gone, or was written to meanwhile.

    ``bits`` count in 16-bit images (``nand_core.datasets.images.read_image``).
    """
    try:
        before = path.lstat()
        if not stat.S_ISREG(before.st_mode):
            return _unreadable(path, class_name, before, "is a link or no file; drop the image itself")
        with _open(path) as file:
            sha256 = _sha256(file)
            file.seek(0)
            image, reason = _decode(path.name, file, bits)
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(path, class_name, before, f"cannot be read ({error.strerror}); drop it again")
    if _version(before) != _version(after):
        return None
    return Arrival(path.name, image_id(class_name, path.name, sha256), sha256, image, reason)


def image_id(class_name: str, name: str, content: str) -> str:
    """16 hexadecimal digits that stand for an image: another class, name or content gives others."""
    return hashlib.sha256(b"\0".join(map(os.fsencode, (class_name, name, content)))).hexdigest()[:16]


def _decode(name: str, file: BinaryIO, bits: int | None) -> tuple[Image.Image | None, str]:
    shown = os.fsencode(name).decode("utf-8", "replace")
    if shown != name:
        return None, f"{printable(shown)}: the name is not UTF-8; rename it"
    if Path(name).suffix.lower() not in EXTENSIONS:
        known = ", ".join(sorted(EXTENSIONS))
        return None, f"{printable(name)}: not named as an image (known: {known}); rename or remove it"
    try:
        return read_image(name, file, bits), ""
    except NandError as error:
        return None, str(error)


def _unreadable(path: Path, class_name: str, found: os.stat_result, problem: str) -> Arrival:
    """Without its content, what the file system says of a file tells it from others."""
    name = printable(os.fsencode(path.name).decode("utf-8", "replace"))
    return Arrival(path.name, image_id(class_name, path.name, repr(_version(found))), "", None, f"{name}: {problem}")


def _open(path: Path) -> BufferedReader:
    """Of plain files alone: no link is followed, and no pipe waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.fdopen(handle, "rb")


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _version(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns
