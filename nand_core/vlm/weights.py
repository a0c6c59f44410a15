"""Weight files: where they are, what they hash to, and how to read them without executing anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from nand_core.errors import NandError

CONTAINERS = ("state_dict", "trainable_linearlayer")


@dataclass(frozen=True)
class WeightFile:
    """A file that a model is made of.

    Attributes:
        key: its role, e.g. ``pretrained``; the key in the settings' ``sha256``.
        wanted: what the settings ask for, a path or a tag.
        path: where it lies on this machine; None when a tag has not been downloaded.
        sha256: the expected digest, if the settings name one.
    """

    key: str
    wanted: str
    path: Path | None
    sha256: str | None = None

    @property
    def present(self) -> bool:
        return self.path is not None and self.path.is_file()

    def digest(self) -> str:
        """The sha256 of the file's bytes.

        Raises:
            NandError: the file is missing, or is not the one that the settings name.
        """
        if not self.present:
            raise NandError(
                f"encoder.{self.key}: no file {self.wanted!r} here; put it there, or name another"
            )
        found = sha256_file(self.path)
        if self.sha256 and found != self.sha256.lower():
            raise NandError(
                f"{self.path}: sha256 is {found}, the settings say {self.sha256}; "
                f"fetch the file again or correct sha256.{self.key}"
            )
        return found


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict (.safetensors, or .pt/.pth/.bin through torch's weights-only reader) as float32 on CPU.

    A dict nested under ``state_dict`` or ``trainable_linearlayer`` is unwrapped; integer tensors stay as they are.

    Raises:
        NandError: the file is missing, is no weights file, or holds anything else than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise NandError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no weights the readers fail in many ways
        reason = str(error).strip().split("\n")[0][:120]
        raise NandError(
            f"{path}: not a plain weights file, nothing was executed ({reason}); "
            "give a state dict saved as .safetensors, or as .pt with tensors only"
        ) from error
    for container in CONTAINERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(container), dict):
            loaded = loaded[container]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise NandError(f"{path}: holds no state dict; give a file that maps names to tensors")
    return {name: value.float() if value.is_floating_point() else value for name, value in loaded.items()}


def listing(files: Iterable[WeightFile]) -> list[dict[str, str | bool]]:
    """One row a file: key, wanted, path ("" if unknown), present, sha256 ("" if absent)."""
    return [
        {
            "key": file.key,
            "wanted": file.wanted,
            "path": str(file.path or ""),
            "present": file.present,
            "sha256": sha256_file(file.path) if file.present else "",
        }
        for file in files
    ]
