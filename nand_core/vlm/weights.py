"""Weight files read without executing anything."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file
from torch import Tensor

from nand_core.errors import NandError

CONTAINERS = ("state_dict", "trainable_linearlayer")


def load_tensors(path: Path, file: BytesIO | None = None) -> dict[str, Tensor]:
    """Read a state dict (.safetensors, or .pt/.pth/.bin through torch's weights-only reader) as float32 on CPU.

    A dict nested under ``state_dict`` or ``trainable_linearlayer`` is unwrapped; integer tensors stay as they are.
    Of ``file``, if it is given, which was read by that name.

    Raises:
        NandError: the file is missing, is no weights file, or holds anything else than tensors.
    """
    path = Path(path)
    if not (file or path.is_file()):
        raise NandError(f"{path}: no such weights file")
    loaded: Any
    try:
        if path.suffix == ".safetensors":
            loaded = load(file.getvalue()) if file else load_file(path)
        else:
            loaded = torch.load(file or path, map_location="cpu", weights_only=True)
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
