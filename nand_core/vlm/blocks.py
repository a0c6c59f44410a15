"""The blocks of an image tower, of open_clip or of timm."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def block_outputs(tower: Any, pixels: Tensor, indices: Sequence[int] | None = None) -> list[Tensor]:
    """The patch tokens (N, C_l, h_l, w_l) after the blocks of these ascending 0-based numbers, by default of all.

    Raw: before any last norm, without class and register tokens.
    """
    chosen = None if indices is None else list(indices)
    out = tower.forward_intermediates(
        pixels, indices=chosen, stop_early=True, intermediates_only=True, output_fmt="NCHW"
    )
    return list(out["image_intermediates"] if isinstance(out, dict) else out)


def block_widths(tower: nn.Module, size: int) -> list[int]:
    """C of every block of an image tower, found on the meta device: shapes without computing."""
    shapes = copy.deepcopy(tower).to("meta").eval()
    return [block.shape[1] for block in block_outputs(shapes, torch.empty(1, 3, size, size, device="meta"))]
