"""From pool images to model input: crops, light and colour, normalisation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.model import MEAN, STD


def normalise(images: Tensor) -> Tensor:
    """(n, 3, S, S) in [0, 1] -> model input."""
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 (n, S, S, 3) -> float32 (n, 3, S, S) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255).contiguous()


def augment(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Model input (n, 3, S, S) and pixel labels (n, S, S): half of the batches are cropped and enlarged."""
    x, y = to_tensor(images), torch.from_numpy(labels)
    n, size = len(x), x.shape[-1]
    if rng.random() < 0.5:
        crop = int(rng.integers(84, size))
        top, left = rng.integers(size - crop + 1, size=2)
        x = F.interpolate(x[..., top : top + crop, left : left + crop], size=(size, size), mode="bilinear")
        y = F.interpolate(
            y[:, None, top : top + crop, left : left + crop].float(), size=(size, size), mode="nearest"
        )
        y = y[:, 0].byte()
    random = torch.from_numpy(rng.standard_normal((4, n, 1, 1, 1)).astype(np.float32))
    tint = torch.from_numpy(rng.standard_normal((n, 3, 1, 1)).astype(np.float32))
    x = x * (1 + 0.15 * random[0]).clamp(0.5, 1.6) * (1 + 0.06 * tint)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * (1 + 0.2 * random[1]).clamp(0.5, 1.8) + middle + 0.04 * random[2]
    return normalise(x.clamp(0, 1)), y
