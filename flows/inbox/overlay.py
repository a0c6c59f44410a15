"""What an inspection shows of an image: where the adapted map is high, and the outline of what raises an alarm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nand_core.report.panels import ANOMALY, coloured, fitted, levels

LONGEST = 512
OPACITY = 0.75
OUTLINE = (0, 229, 255)


def overlay(image: Image.Image, adapted: NDArray[np.float32], threshold: float) -> Image.Image:
    """An RGB image, its longest side at most 512 pixels, with the map A_final (h, w) over it.

    Colours and opacity rise up to twice the threshold: they compare between the images of a class. An outline
    surrounds what lies above the threshold.
    """
    size = fitted(image.size, LONGEST)
    picture = np.asarray(image.resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    top = 2 * threshold if threshold > 0 else float(adapted.max())
    found = levels(adapted, top, size)
    weight = OPACITY * (found[..., None].astype(np.float32) / 255) ** 2
    mixed = np.rint(picture * (1 - weight) + coloured(found, ANOMALY) * weight).astype(np.uint8)
    above = Image.fromarray(np.where(adapted > threshold, np.uint8(255), np.uint8(0))).resize(size)
    around = np.asarray(above.filter(ImageFilter.MaxFilter(3))) != np.asarray(above)
    return Image.fromarray(np.where(around[..., None], np.array(OUTLINE, dtype=np.uint8), mixed))
