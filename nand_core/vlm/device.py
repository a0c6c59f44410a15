"""Where to compute."""

from __future__ import annotations

import torch

from nand_core.errors import NandError


def pick_device(name: str) -> torch.device:
    """auto (CUDA where there is one), cpu, cuda or cuda:N.

    Raises:
        NandError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise NandError(f"device: {name} asked for, {torch.cuda.device_count()} CUDA devices found; set cpu")
    return device
