"""Parts of images: windows of patches, as WinCLIP gathers them, and the larger part that a step looks at."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nand_core.adaptation.patches import IGNORED
from nand_core.drawing.scenes import TYPES


def draw_windows(
    label: Tensor, rng: np.random.Generator, count: int, grid: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    """``count`` random windows of one size (2 to 4 patches square), half of them on defects.

    Args:
        label: (n, patches) as ``losses.patch_labels`` gives it.

    Returns:
        Their images (count,), patch numbers (count, size * size) and labels (count,).
    """
    side = int(rng.integers(2, 5))
    image = torch.from_numpy(rng.integers(len(label), size=count))
    corner = rng.integers(grid - side + 1, size=(count, 2))
    where = (label > 0).nonzero().numpy()
    if len(where):
        picked = where[rng.integers(len(where), size=count // 2)]
        image[: count // 2] = torch.from_numpy(picked[:, 0])
        centre = np.stack([picked[:, 1] // grid, picked[:, 1] % grid], 1) - rng.integers(
            side, size=(len(picked), 2)
        )
        corner[: count // 2] = np.clip(centre, 0, grid - side)
    steps = np.add.outer(np.arange(side) * grid, np.arange(side)).ravel()
    members = torch.from_numpy((corner[:, 0] * grid + corner[:, 1])[:, None] + steps)
    return image, members, majority(label[image[:, None], members], 0.2)


def draw_views(label: Tensor, rng: np.random.Generator, side: int, grid: int = 16) -> Tensor:
    """Patch numbers (n, side * side) of one square part of each image, mostly one with a defect in it.

    Attention over part of an image costs less, and most defects are small.
    """
    corners = rng.integers(grid - side + 1, size=(len(label), 2))
    for corner, row in zip(corners, label, strict=True):
        where = (row > 0).nonzero().flatten().numpy()
        if len(where) and rng.random() < 0.85:
            patch = np.array(divmod(int(rng.choice(where)), grid))
            corner[:] = np.clip(patch - rng.integers(side, size=2), 0, grid - side)
    square = np.add.outer(np.arange(side) * grid, np.arange(side)).ravel()
    return torch.from_numpy((corners[:, 0] * grid + corners[:, 1])[:, None] + square)


def majority(labels: Tensor, share: float) -> Tensor:
    """The most frequent defect of every row; 0 without any, ``IGNORED`` below ``share`` defective patches."""
    counts = F.one_hot(labels.clamp(min=0), len(TYPES) + 1).sum(1)[:, 1:]
    defective = (labels > 0).float().mean(1)
    unsure = (labels < 0).any(1) & (defective == 0) | (defective > 0) & (defective < share)
    label = torch.where(defective > 0, counts.argmax(1) + 1, 0)
    return torch.where(unsure, IGNORED, label)
