"""Images, masks and maps as small pictures (WebP), most of them inside the page as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Both ramps rise evenly in lightness, so that they read without colour; they differ in hue because an
# anomaly and a suppression are different quantities.
ANOMALY = ("#0b0a1e", "#4a1164", "#9b2a63", "#e0563f", "#fba23c", "#fdf3b5")
SUPPRESSION = ("#0a1420", "#123f5c", "#17718a", "#2ea79b", "#8bd6a3", "#f2fbd9")


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """``size`` (width, height) scaled down so that its longest side is at most ``longest``."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def photo(image: Image.Image, longest: int, quality: int) -> str:
    """An RGB image as a data URI."""
    return _uri(image.resize(fitted(image.size, longest), Image.Resampling.LANCZOS), quality)


def mask_panel(mask: NDArray[np.bool_], longest: int) -> str:
    """A mask, bool (h, w), as a data URI: white where it is true."""
    image = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    return _uri(image.resize(fitted(image.size, longest), Image.Resampling.BOX).convert("RGB"), None)


def heat(
    values: NDArray[np.float32], top: float, ramp: tuple[str, ...], size: tuple[int, int], quality: int
) -> str:
    """A map (h, w), coloured from 0 to ``top``, at ``size`` (width, height), as a data URI."""
    return _uri(Image.fromarray(coloured(levels(values, top, size), ramp)), quality)


def levels(values: NDArray[np.float32], top: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A map (h, w) at ``size`` (width, height), from 0 at 0 to 255 at ``top`` and above."""
    scaled = (
        np.asarray(values, dtype=np.float32) / top if top > 0 else np.zeros_like(values, dtype=np.float32)
    )
    resized = np.asarray(Image.fromarray(scaled).resize(size, Image.Resampling.BILINEAR))
    found: NDArray[np.uint8] = np.rint(np.clip(resized, 0, 1) * 255).astype(np.uint8)
    return found


def coloured(found: NDArray[np.uint8], ramp: tuple[str, ...]) -> NDArray[np.uint8]:
    """Levels (h, w) in the ramp's colours, (h, w, 3)."""
    return _table(ramp)[found]


def gradient(ramp: tuple[str, ...]) -> str:
    """The ramp as a CSS gradient, for its legend."""
    return f"linear-gradient(to right, {', '.join(ramp)})"


def _table(ramp: tuple[str, ...]) -> NDArray[np.uint8]:
    stops = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in ramp], dtype=float)
    at = np.linspace(0, len(ramp) - 1, 256)
    channels = [np.interp(at, np.arange(len(ramp)), stops[:, c]) for c in range(3)]
    table: NDArray[np.uint8] = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return table


def webp(image: Image.Image, quality: int | None, effort: int = 4) -> bytes:
    """A file's bytes, lossless if ``quality`` is None; ``effort``, 0 to 6, is time spent on making them fewer."""
    buffer = io.BytesIO()
    image.save(
        buffer, "WEBP", lossless=quality is None, quality=100 if quality is None else quality, method=effort
    )
    return buffer.getvalue()


def _uri(image: Image.Image, quality: int | None) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp(image, quality)).decode("ascii")
