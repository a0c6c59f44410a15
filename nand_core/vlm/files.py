"""Weight files: where they are and what they hash to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from nand_core.artifacts.store import sha256_file
from nand_core.artifacts.verified import verified
from nand_core.errors import NandError


@dataclass(frozen=True)
class WeightFile:
    """A file that a model is made of.

    Attributes:
        key: its role, e.g. ``pretrained``; the key in the settings' ``sha256``.
        wanted: what the settings ask for, a path or a tag.
        path: where it lies on this machine; None when a tag has not been downloaded.
        sha256: the expected digest, if the settings name one.
        hashed: what :meth:`digest` gave before: the file has to be that one still.
        section: of the settings that name it, for messages; a file that several name is one file.
        missing: what to do where it is not here.
    """

    key: str
    wanted: str
    path: Path | None
    sha256: str | None = None
    section: str = field(default="encoder", compare=False)
    missing: str = field(default="", compare=False)
    hashed: str | None = field(default=None, compare=False)

    @property
    def present(self) -> bool:
        return self.path is not None and self.path.is_file()

    def located(self) -> Path:
        """Where the file lies.

        Raises:
            NandError: it is missing.
        """
        if self.path is None or not self.path.is_file():
            todo = self.missing or "put it there, or name another"
            raise NandError(f"{self.section}.{self.key}: no file {self.wanted!r} here; {todo}")
        return self.path

    def digest(self) -> str:
        """The sha256 of the file's bytes.

        Raises:
            NandError: the file is missing, or is not the one that the settings name.
        """
        return self._named(sha256_file(self.located()))

    def read(self) -> BytesIO:
        """The file's bytes, read now.

        Raises:
            NandError: the file is missing, is not the one that the settings name, or has changed since it was hashed.
        """
        data = verified(self.located(), self.hashed)
        if self.sha256 and not self.hashed:
            self._named(hashlib.sha256(data.getbuffer()).hexdigest())
        return data

    def _named(self, found: str) -> str:
        if self.sha256 and found != self.sha256.lower():
            raise NandError(
                f"{self.path}: sha256 is {found}, the settings say {self.sha256}; "
                f"fetch the file again or correct sha256.{self.key}"
            )
        return found

