"""The project's images as a browser gets them: small ones made once, and maps to lay over them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nand.project.place import STATE
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.verified import verified
from nand_core.datasets.images import read_image
from nand_core.report.panels import ANOMALY, coloured, fitted, levels, webp

SIZES = {"small": 256, "large": 1024}
"""Longest sides in pixels."""
QUALITY = 80
FOLDER = STATE / "page" / "pictures"


def picture(path: Path, sha256: str, size: str, folder: Path = FOLDER) -> bytes:
    """An image as WebP, made once for each content.

    Args:
        path: of the image.
        sha256: of its content.
        size: a key of ``SIZES``.

    Raises:
        NandError: it cannot be read.
    """
    made = folder / size / sha256[:2] / f"{sha256}.webp"
    try:
        return made.read_bytes()
    except FileNotFoundError:
        pass
    image = read_image(path, verified(path, sha256))
    data = webp(image.resize(fitted(image.size, SIZES[size]), Image.Resampling.LANCZOS), QUALITY, 2)
    with replacing(made) as temporary:
        temporary.write_bytes(data)
    return data


def overlay(final: NDArray[np.float32], limit: float) -> bytes:
    """A map A_final (h, w) as PNG with transparency, to lie over its image.

    Colours and opacity rise up to twice the limit, so that they compare between the images of a class.
    """
    height, width = final.shape
    top = 2 * limit if limit > 0 else float(final.max())
    found = levels(final, top, (width, height))
    opacity = np.rint(255 * np.minimum(1, found.astype(np.float32) / 160) ** 1.5).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([coloured(found, ANOMALY), opacity])).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
