"""A drawn image with an anomaly at a known place, and a network whose features are the image itself."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor, nn


def striped(box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """64 x 64 grey stripes, with a red box (left, top, right, bottom)."""
    pixels = np.zeros((64, 64, 3), np.uint8) + 90
    pixels[:, ::8] = 130
    if box:
        pixels[box[1] : box[3], box[0] : box[2]] = (250, 20, 20)
    return Image.fromarray(pixels)


class Stem(nn.Module):
    """Two strided means: a backbone whose features are the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer2, self.layer3 = nn.AvgPool2d(8), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer3(self.layer2(x))
