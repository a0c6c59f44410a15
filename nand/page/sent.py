"""Images that somebody sends from the browser: kept as long as they may be needed, by content."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from nand.project.place import STATE
from nand_core.artifacts.disk import temporary_file
from nand_core.datasets.images import read_image
from nand_core.datasets.layout import EXTENSIONS
from nand_core.errors import NandError

FOLDER = STATE / "page" / "sent"
MOST = 200
"""Files that are kept; of more the oldest go."""


def keep(name: str, data: bytes, folder: Path = FOLDER) -> str:
    """Keep a file that is an image; the 16 digits that stand for it.

    Raises
    ------
    NandError
        When it is no image that is read here.
    """
    plain = re.sub("[^A-Za-z0-9._-]+", "_", Path(name).name)[-80:].lstrip(".")
    if Path(plain).suffix.lower() not in EXTENSIONS:
        raise NandError(f"{plain or 'it'}: not named as an image (known: {', '.join(sorted(EXTENSIONS))})")
    key = hashlib.sha256(data).hexdigest()[:16]
    with temporary_file(folder, Path(plain).suffix.lower()) as temporary:
        temporary.write_bytes(data)
        try:
            read_image(temporary)
        except NandError as error:
            raise NandError(str(error).replace(str(temporary), plain)) from None
        for old in folder.glob(f"{key}-*"):
            old.unlink()
        temporary.rename(folder / f"{key}-{plain}")
    _tidy(folder)
    return key


def sent_image(key: str, folder: Path = FOLDER) -> Path:
    """Where a file is that was kept.

    Raises
    ------
    NandError
        When it is gone.
    """
    found = next(folder.glob(f"{key}-*"), None)
    if found is None:
        raise NandError("the image that you sent is gone; send it again")
    return found


def _tidy(folder: Path) -> None:
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    for path in files[:-MOST]:
        path.unlink(missing_ok=True)
