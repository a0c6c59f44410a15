"""Drawing helpers: smooth noise, curves, blobs, relief, shadows.

Lengths and coordinates are fractions of the image's side (x to the right, y down), so that a picture looks
the same at every size. Fields are float32 or float64 (n, n), colours likewise (n, n, 3) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.floating[Any]]
Random = np.random.Generator


@dataclass(frozen=True)
class Surface:
    """An undamaged material: ``rgb`` (n, n, 3) and ``light``, the unit vector (x, y) towards the lamp."""

    rgb: Array
    light: tuple[float, float]

    @property
    def size(self) -> int:
        return len(self.rgb)


def coordinates(n: int, angle: float = 0.0) -> tuple[Array, Array]:
    """x and y (n, n) of the pixel centres, turned by ``angle`` (radians) about the image's centre."""
    axis = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    x, y = np.meshgrid(axis, axis)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x - sin * y + 0.5, sin * x + cos * y + 0.5


def noise(rng: Random, n: int, width: float, height: float | None = None) -> Array:
    """Smooth noise (n, n), mean 0 and deviation 1, with features about ``width`` by ``height`` large."""
    cells = [min(n, max(4, round(3 / length))) for length in (height or width, width)]
    coarse = ndimage.gaussian_filter(rng.standard_normal(cells, dtype=np.float32), 1.2, mode="wrap")
    field = np.asarray(Image.fromarray(coarse).resize((n, n), Image.Resampling.BICUBIC))
    scaled: Array = (field - field.mean()) / (field.std() + 1e-6)
    return scaled


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between; falls instead of rises when ``low > high``."""
    t: Array = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bell(value: Array, width: float) -> Array:
    """Gaussian bump: 1 at 0, deviation ``width``."""
    bump: Array = np.exp(-0.5 * (value / width) ** 2)
    return bump


def mix(below: Array, above: ArrayLike, cover: ArrayLike) -> Array:
    """``above`` (a colour or an image) laid over ``below`` with opacity ``cover`` (n, n) or a number."""
    cover = np.asarray(cover, np.float32)
    cover = np.clip(cover, 0, 1)[..., None] if cover.ndim == 2 else cover
    mixed: Array = below + (np.asarray(above, np.float32) - below) * cover
    return mixed


def plain(n: int, colour: ArrayLike) -> Array:
    """One colour all over: (n, n, 3)."""
    return np.full((n, n, 3), colour, np.float32)


def shade(rgb: Array, factor: Array) -> Array:
    """Brightness of ``rgb`` times ``factor`` (n, n)."""
    return rgb * factor[..., None]


def slope(height: Array, light: tuple[float, float]) -> Array:
    """Tilt towards the light of a relief whose ``height`` is in image sides: > 0 is lit, < 0 in shade."""
    down, right = np.gradient(height, np.float32(1 / height.shape[0]))
    return np.asarray(-(right * light[0] + down * light[1]))


def shadow(cover: Array, light: tuple[float, float], reach: float, softness: float) -> Array:
    """What an object of shape ``cover`` (n, n), ``reach`` above the ground, shades: (n, n) in [0, 1]."""
    n = cover.shape[0]
    moved = ndimage.shift(cover, (-light[1] * reach * n, -light[0] * reach * n), order=1, mode="nearest")
    return ndimage.gaussian_filter(moved, softness * n)


def place(rng: Random, margin: float = 0.15) -> Array:
    """A random point at least ``margin`` from the border."""
    return rng.uniform(margin, 1 - margin, 2).astype(np.float32)


def wander(rng: Random, length: float, bend: float, *, heading: float | None = None) -> Array:
    """A smooth curve (k, 2) of ``length`` whose direction swings by about ``bend`` radians; its middle is
    inside the image."""
    k = max(16, round(400 * length))
    heading = rng.uniform(0, 2 * np.pi) if heading is None else heading
    knots = bend * rng.standard_normal(max(3, round(6 * length)))
    swing = ndimage.zoom(knots, k / len(knots), order=3, mode="nearest")
    angle = heading + np.resize(swing - swing.mean(), k)
    steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (length / k)
    points = np.cumsum(steps, axis=0)
    curve: Array = (points - points[k // 2] + place(rng, 0.2)).astype(np.float32)
    return curve


@dataclass(frozen=True)
class Stroke:
    """Where each pixel lies as seen from the nearest curve.

    ``distance`` (n, n) to the curve, ``side`` (n, n) the signed distance across it, ``along`` (n, n) in
    [0, 1] from start to end, ``piece`` (n, n) which curve it is, ``tangent`` (n, n, 2) its direction there.
    """

    distance: Array
    side: Array
    along: Array
    piece: NDArray[np.intp]
    tangent: Array

    def line(self, half_width: ArrayLike) -> Array:
        """Opacity (n, n) of a line of ``half_width`` with edges one drawn pixel soft."""
        inside = (np.asarray(half_width) - self.distance) * self.distance.shape[0]
        opacity: Array = np.clip(inside + 0.5, 0, 1)
        return opacity


def trace(curves: Sequence[Array], n: int) -> Stroke:
    """Distances from ``curves`` (each (k, 2); at least one must enter the image) at every pixel."""
    dense = [_resample(curve, n) for curve in curves]
    points = np.concatenate(dense)
    along = np.concatenate([np.linspace(0, 1, len(curve), dtype=np.float32) for curve in dense])
    piece = np.repeat(np.arange(len(dense)), [len(curve) for curve in dense])
    tangent = np.concatenate([np.gradient(curve, axis=0) for curve in dense])
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9

    column, row = np.floor(points * n).astype(int).T
    inside = (column >= 0) & (column < n) & (row >= 0) & (row < n)
    seeds = np.full((n, n), -1)
    seeds[row[inside], column[inside]] = np.flatnonzero(inside)
    nearest = ndimage.distance_transform_edt(seeds < 0, return_distances=False, return_indices=True)
    index = seeds[tuple(nearest)]
    offset = np.stack(coordinates(n), axis=-1) - points[index]
    direction = tangent[index]
    side = direction[..., 0] * offset[..., 1] - direction[..., 1] * offset[..., 0]
    return Stroke(np.hypot(*np.moveaxis(offset, -1, 0)), side, along[index], piece[index], direction)


def _resample(curve: Array, n: int) -> Array:
    """``curve`` (k, 2) with points half a pixel apart."""
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    marks = np.linspace(0, travelled[-1], max(3, round(2 * n * travelled[-1])))
    return np.stack([np.interp(marks, travelled, part) for part in curve.T], axis=1).astype(np.float32)


def blob(
    rng: Random,
    n: int,
    radius: float,
    *,
    rough: float = 0.25,
    stretch: float = 1.0,
    centre: Array | None = None,
) -> Array:
    """Depth (n, n) inside a rounded irregular patch: > 0 inside, 0 on the rim, < 0 outside."""
    centre = place(rng) if centre is None else centre
    x, y = coordinates(n)
    x, y = x - centre[0], y - centre[1]
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    u, v = (cos * x + sin * y) / np.sqrt(stretch), (cos * y - sin * x) * np.sqrt(stretch)
    theta = np.arctan2(v, u)
    waves = range(2, 8)
    edge = sum(
        rng.normal(0, 1 / k) * np.cos(k * theta + phase)
        for k, phase in zip(waves, rng.uniform(0, 2 * np.pi, len(waves)), strict=True)
    )
    depth: Array = (radius * np.clip(1 + rough * edge, 0.4, 1.7) - np.hypot(u, v)).astype(np.float32)
    return depth
