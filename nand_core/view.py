"""How a network looks at an image. Without torch, which a line with an exported model need not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class View:
    """A square of an image.

    Attributes:
        resize: side in pixels to which the image is brought, whatever its aspect.
        resample: how; both look at every pixel (Pillow's antialiased filters, which round to 8 bits).
        crop: side of the centre that is cut out of that; None: all of it.
    """

    resize: int
    resample: Literal["bicubic", "bilinear"]
    crop: int | None = None

    @property
    def side(self) -> int:
        """Of the square in pixels."""
        return self.crop or self.resize

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """(side, side, 3) of an image."""
        resample = Image.Resampling[self.resample.upper()]
        small = image.convert("RGB").resize((self.resize, self.resize), resample)
        before = round((self.resize - self.side) / 2)
        return np.array(small.crop((before, before, before + self.side, before + self.side)))
