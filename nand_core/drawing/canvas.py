"""Primitives for drawing: smooth noise, strokes, blobs, colours and compositing.

Images are float32 (S, S, 3) in [0, 1]; fields and coverage masks are float32 (S, S). Points are (n, 2) in
pixels, x before y.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

SIZE = 128
_OVERSAMPLING = 3

Rng = np.random.Generator
YY, XX = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def loguniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def resize(field: np.ndarray, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """Bicubic resize of a (h, w) field to ``size`` = (width, height)."""
    return np.asarray(Image.fromarray(field.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))


def blur(field: np.ndarray, sigma: float | tuple[float, float]) -> np.ndarray:
    """Gaussian blur of a field or, channel by channel, of an image."""
    if field.ndim == 2:
        return ndimage.gaussian_filter(field, sigma, truncate=3.0, mode="nearest")
    return np.stack([blur(field[..., c], sigma) for c in range(3)], axis=-1)


def standardise(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / (field.std() + 1e-6)


def white_noise(rng: Rng) -> np.ndarray:
    return rng.standard_normal((SIZE, SIZE), dtype=np.float32)


def smooth_noise(rng: Rng, cell: float, aspect: float = 1.0) -> np.ndarray:
    """Noise of about unit variance with features of ``cell`` pixels, ``aspect`` times as tall as wide."""
    width = max(2, int(SIZE / max(cell, 1.0)) + 2)
    height = max(2, int(SIZE / max(cell * aspect, 1.0)) + 2)
    return resize(rng.standard_normal((height, width))) * 1.25


def fractal_noise(rng: Rng, cell: float, octaves: int = 3, roughness: float = 0.5) -> np.ndarray:
    field = [roughness**k * smooth_noise(rng, cell / 2**k) for k in range(octaves)]
    return standardise(np.sum(field, axis=0))


def band_noise(rng: Rng, sigma: float) -> np.ndarray:
    """Noise of one spatial scale: unit variance, zero crossings about ``3 sigma`` apart."""
    noise = white_noise(rng)
    return standardise(blur(noise, sigma) - blur(noise, 2 * sigma))


def directions(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (u, v) of every pixel in a frame turned by ``angle`` around the image's centre."""
    x, y = XX - SIZE / 2, YY - SIZE / 2
    return x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)


def sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The image (or field) at real-valued positions, bilinear, mirrored at the border."""
    if image.ndim == 2:
        return ndimage.map_coordinates(image, [y, x], order=1, mode="mirror")
    return np.stack([sample(image[..., c], x, y) for c in range(3)], axis=-1)


def turn(field: np.ndarray, angle: float) -> np.ndarray:
    """Turn a field around its centre, mirrored outside."""
    u, v = directions(angle)
    return sample(field, u + SIZE / 2, v + SIZE / 2)


def colour(
    rng: Rng, saturation: tuple[float, float] = (0.0, 1.0), value: tuple[float, float] = (0.05, 1.0)
) -> np.ndarray:
    """A random RGB colour (3,)."""
    hsv = rng.uniform(), rng.uniform(*saturation), rng.uniform(*value)
    return np.array(colorsys.hsv_to_rgb(*hsv), dtype=np.float32)


def grey(value: float) -> np.ndarray:
    return np.full(3, value, dtype=np.float32)


def contrasting(
    rng: Rng, reference: np.ndarray, least: float = 0.15, **ranges: tuple[float, float]
) -> np.ndarray:
    """A random colour that differs from ``reference`` by at least ``least`` in some channel."""
    for _ in range(8):
        candidate = colour(rng, **ranges)
        if np.abs(candidate - reference).max() >= least:
            return candidate
    return np.clip(1 - reference, 0, 1).astype(np.float32)


def ramp(field: np.ndarray, dark: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Colour a field in [0, 1] from ``dark`` to ``light``."""
    return dark + np.clip(field, 0, 1)[..., None] * (light - dark)


def blend(image: np.ndarray, alpha: np.ndarray, paint: np.ndarray | float) -> np.ndarray:
    return image + alpha[..., None] * (paint - image)


def _raster(paint: Callable[[ImageDraw.ImageDraw], None]) -> np.ndarray:
    large = Image.new("L", (SIZE * _OVERSAMPLING, SIZE * _OVERSAMPLING))
    paint(ImageDraw.Draw(large))
    return np.asarray(large.reduce(_OVERSAMPLING), dtype=np.float32) / 255


def polygon(points: np.ndarray) -> np.ndarray:
    """Coverage of a filled polygon."""
    corners = [tuple(p) for p in points * _OVERSAMPLING]
    return _raster(lambda draw: draw.polygon(corners, fill=255))


def polyline(points: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Coverage of a line of constant width or of one width a point."""
    points = points * _OVERSAMPLING
    widths = np.broadcast_to(np.asarray(width, dtype=float), len(points)) * _OVERSAMPLING
    thin = min(1.0, float(widths.max()))

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for (a, b), w in zip(pairwise(points), widths[1:], strict=True):
            draw.line([tuple(a), tuple(b)], fill=255, width=max(1, round(w)))
            if w > 3:
                draw.ellipse([*(b - w / 2), *(b + w / 2)], fill=255)

    return _raster(paint) * thin


def ellipse(centre: np.ndarray, radii: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """Normalised distance from an ellipse's centre: below 1 inside."""
    x, y = XX - centre[0], YY - centre[1]
    u = (x * np.cos(angle) + y * np.sin(angle)) / radii[0]
    v = (-x * np.sin(angle) + y * np.cos(angle)) / radii[1]
    return np.sqrt(u * u + v * v)


def outline(
    rng: Rng,
    centre: np.ndarray,
    radius: float,
    roughness: float = 0.25,
    stretch: float | None = None,
    corners: int = 36,
) -> np.ndarray:
    """Points of a closed irregular outline; ``roughness`` 0 gives an ellipse."""
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    r = np.ones(corners)
    for k in range(2, 8):
        r += roughness / k**0.8 * rng.standard_normal() * np.cos(k * t + rng.uniform(0, 6.3))
    stretch = loguniform(rng, 1.0, 2.2) if stretch is None else stretch
    r = np.clip(r, 0.3, 2.0) * radius
    x, y = r * np.cos(t) * stretch**0.5, r * np.sin(t) / stretch**0.5
    a = rng.uniform(0, np.pi)
    return np.stack(
        [centre[0] + x * np.cos(a) - y * np.sin(a), centre[1] + x * np.sin(a) + y * np.cos(a)], axis=1
    )


def blob(
    rng: Rng,
    centre: np.ndarray,
    radius: float,
    roughness: float = 0.25,
    stretch: float | None = None,
    softness: float = 0.0,
) -> np.ndarray:
    """Coverage of an irregular filled shape with an edge blurred by ``softness`` pixels."""
    alpha = polygon(outline(rng, centre, radius, roughness, stretch))
    return blur(alpha, softness) if softness > 0.3 else alpha


def straight(
    rng: Rng,
    centre: np.ndarray,
    length: float,
    angle: float | None = None,
    bow: float = 0.0,
    jitter: float = 0.0,
    points: int = 12,
) -> np.ndarray:
    """Points of a line around ``centre``; ``bow`` bends it, ``jitter`` makes it jagged (pixels)."""
    angle = rng.uniform(0, np.pi) if angle is None else angle
    t = np.linspace(-0.5, 0.5, points)
    across = bow * length * (t * t * 4 - 0.3) + jitter * rng.standard_normal(points)
    along = np.stack([np.cos(angle), np.sin(angle)])
    normal = np.stack([-along[1], along[0]])
    return np.asarray(centre) + t[:, None] * length * along + across[:, None] * normal


def wander(
    rng: Rng, start: np.ndarray, length: float, curl: float, heading: float | None = None, points: int = 28
) -> np.ndarray:
    """Points of a smooth random walk; ``curl`` is how much it turns, in radians a tenth of its length."""
    heading = rng.uniform(0, 2 * np.pi) if heading is None else heading
    bends = ndimage.gaussian_filter1d(rng.standard_normal(points), 3.0) * 3.0
    turns = heading + np.cumsum(bends * curl * 10 / points + rng.normal(0, 0.3 * curl) * 10 / points)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / points
    return np.asarray(start) + np.cumsum(steps, axis=0)


def relief(height: np.ndarray, angle: float, strength: float) -> np.ndarray:
    """Light and shade of a height field lit from ``angle``: a field around 0."""
    gy, gx = np.gradient(height)
    return strength * (gx * np.cos(angle) + gy * np.sin(angle))
