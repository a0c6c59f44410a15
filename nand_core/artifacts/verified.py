"""What is read is what was hashed: a file is read once, its digest compared, and only then used."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

from nand_core.errors import NandError


def verified(path: Path, sha256: str | None) -> BytesIO:
    """The bytes of a file, which can be replaced from now on; ``sha256`` is None where nobody has hashed them before.

    Raises:
        NandError: it cannot be read, or is another file than the one that was hashed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NandError(f"{path}: no such file") from error
    except OSError as error:
        raise NandError(f"{path}: cannot be read ({error.strerror}); check that it is there") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise changed(path)
    return BytesIO(data)


def changed(path: Path) -> NandError:
    """The error for a file that is another one than when it was hashed."""
    return NandError(f"{path}: has changed since it was first read; nothing of it was stored, run again")
