"""Pixels as networks take them."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from nand_core.view import View


def standardised(view: View, image: Image.Image | Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """An image's ``view``, or its pixels (S, S, 3) uint8 -> (3, S, S) float32, in units of ``std`` from ``mean``.

    Args:
        mean, std: (3, 1, 1) of red, green and blue in [0, 1].
    """
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(view.pixels(image))
    return (pixels.permute(2, 0, 1).float() / 255 - mean) / std
