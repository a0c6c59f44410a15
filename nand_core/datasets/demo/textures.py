"""The five undamaged materials. Each is one product: the pictures of it vary as pieces on a line do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from nand_core.datasets.demo.paint import (
    Array,
    Random,
    Surface,
    bell,
    coordinates,
    mix,
    noise,
    plain,
    shade,
    shadow,
    slope,
    smoothstep,
)


def lamp(rng: Random, angle: float = -0.75 * np.pi, spread: float = 0.25) -> tuple[float, float]:
    """Direction of the light, ``angle`` give or take: from the upper left unless told."""
    angle = rng.normal(angle, spread)
    return float(np.cos(angle)), float(np.sin(angle))


def carpet(rng: Random, n: int) -> Surface:
    """Grey-beige woven carpet: staggered rows of slanted yarn loops, each of its own tone."""
    light = lamp(rng)
    x, y = coordinates(n, rng.normal(0, 0.05))
    rows = 24 * rng.uniform(0.94, 1.06)
    v = y * rows + 0.12 * noise(rng, n, 0.15) + rng.uniform(0, 1)
    row = np.floor(v).astype(int)
    across = v - row - 0.5
    slant = np.where(row % 2, 0.45, -0.45)
    u = x * rows * 0.8 + 0.5 * (row % 2) + slant * across + 0.12 * noise(rng, n, 0.15) + rng.uniform(0, 1)
    column = np.floor(u).astype(int)
    loop = (1 - (2 * (u - column) - 1) ** 2) * (1 - (2 * across) ** 2)
    tone = rng.normal(0, 1, (41, 43)).astype(np.float32)[row % 41, column % 43]
    fibres = noise(rng, n, 0.008)
    rgb = mix(plain(n, (0.46, 0.45, 0.44)), (0.70, 0.66, 0.59), 0.5 + 0.22 * tone)
    relief = slope(0.010 * np.sqrt(np.clip(loop, 0, 1)), light)
    brightness = 0.45 + 0.62 * np.sqrt(np.clip(loop, 0, 1)) + 0.22 * np.clip(relief, -1.5, 1.5)
    return Surface(shade(rgb, brightness + 0.05 * fibres + 0.03 * noise(rng, n, 0.2)), light)


def wood(rng: Random, n: int) -> Surface:
    """Warm brown planed board: growth rings, long fibres, dark pores, all nearly upright."""
    wide = round(1.25 * n)
    x, _ = coordinates(wide)
    rings = rng.uniform(7, 11)
    sway = 0.42 * noise(rng, wide, 0.5, 1.5) + 0.08 * noise(rng, wide, 0.1, 0.8)
    phase = x * rings + sway + rng.uniform(0, 1)
    ring = phase - np.floor(phase)
    late = smoothstep(0.15, 0.85, ring) * smoothstep(1.0, 0.90, ring)
    fibres = noise(rng, wide, 0.009, 0.5) + 0.8 * noise(rng, wide, 0.02, 0.9)
    pores = smoothstep(1.5, 2.5, noise(rng, wide, 0.008, 0.08))
    tone = 0.50 * late + 0.11 * fibres + 0.10 * noise(rng, wide, 0.25, 0.9) + 0.30 * pores
    tone = Image.fromarray(tone.astype(np.float32)).rotate(rng.normal(0, 3), Image.Resampling.BICUBIC)
    edge = (wide - n) // 2
    tone = np.asarray(tone)[edge : edge + n, edge : edge + n]
    rgb = mix(plain(n, (0.77, 0.58, 0.39)), (0.47, 0.28, 0.15), np.clip(tone + 0.15, 0, 1))
    return Surface(rgb, lamp(rng))


def leather(rng: Random, n: int) -> Surface:
    """Brown grained leather: rounded pebbles of uneven size between dark creases, slightly glossy."""
    light = lamp(rng)
    x, y = coordinates(n, rng.uniform(-0.3, 0.3))
    cells = 25 * rng.uniform(0.9, 1.1)
    u = x * cells + 0.30 * noise(rng, n, 0.12)
    v = y * cells * 1.1 + 0.30 * noise(rng, n, 0.12)
    first, second = _nearest_two(rng, u, v)
    pebble = smoothstep(0.0, 0.55, second - first)
    height = 0.009 * pebble + 0.0012 * noise(rng, n, 0.015) + 0.004 * noise(rng, n, 0.12)
    lit = np.clip(slope(height, light), -1, 1)
    rgb = shade(plain(n, (0.47, 0.27, 0.16)), 0.62 + 0.38 * pebble + 0.38 * lit + 0.05 * noise(rng, n, 0.3))
    return Surface(rgb + (0.16 * smoothstep(0.25, 0.9, lit))[..., None], light)


def _nearest_two(rng: Random, u: Array, v: Array) -> tuple[Array, Array]:
    """Distances from (u, v) to the two nearest of points scattered one to a unit cell."""
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    jitter = rng.uniform(0.1, 0.9, (53, 59, 2)).astype(np.float32)
    first = np.full(u.shape, 9, np.float32)
    second = first.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            point = jitter[(row + down) % 53, (column + right) % 59]
            away = np.hypot(column + right + point[..., 0] - u, row + down + point[..., 1] - v)
            second = np.minimum(second, np.maximum(first, away))
            first = np.minimum(first, away)
    return first, second


def tile(rng: Random, n: int) -> Surface:
    """Pale stone tile, polished: grey and rust flecks of two sizes on a clouded cream ground."""
    scale = rng.uniform(0.9, 1.1)
    ground = mix(plain(n, (0.80, 0.78, 0.73)), (0.70, 0.69, 0.68), 0.5 + 0.3 * noise(rng, n, 0.12))
    flecks = (
        ((0.55, 0.53, 0.51), 0.035, 0.6, 0.75),
        ((0.60, 0.47, 0.36), 0.030, 1.25, 0.6),
        ((0.24, 0.23, 0.24), 0.024, 1.05, 0.85),
        ((0.93, 0.92, 0.90), 0.020, 1.3, 0.7),
    )
    for colour, size, rarity, opacity in flecks:
        grains = noise(rng, n, size * scale) + 0.35 * noise(rng, n, 0.010)
        ground = mix(ground, colour, opacity * smoothstep(rarity, rarity + 0.35, grains))
    x, _ = coordinates(n, rng.uniform(0, 2 * np.pi))
    gloss = 0.06 * bell(x - rng.uniform(0.2, 0.8), 0.25)
    return Surface(shade(ground, 1 + 0.03 * noise(rng, n, 0.008)) + gloss[..., None], lamp(rng))


# of a wire family: where its wires are missing (n, n) in [0, 1]
Gap = tuple[int, Array]
# one wire more: its family, the signed distance from it in units of the pitch, where it is there, in [0, 1]
Stray = tuple[int, Array, Array]


@dataclass(frozen=True)
class Mesh(Surface):
    """Two families of steel wires, woven, over a smooth backing.

    ``angles`` of the wires, ``pitch`` between them, ``radius`` of one, ``phases`` and ``waver`` (a small
    field a family) of their positions, ``metal`` (n, n) their tone, ``backing`` (n, n, 3) what lies behind.
    """

    angles: tuple[float, float]
    pitch: float
    radius: float
    phases: tuple[float, float]
    waver: tuple[Array, Array]
    metal: Array
    backing: Array = field(repr=False)

    def frame(self, family: int) -> tuple[Array, Array]:
        """For one family: position across in units of the pitch (wires at whole numbers), and along."""
        x, y = coordinates(self.size, self.angles[family])
        return (y - 0.5) / self.pitch + self.phases[family] + self.waver[family], x

    def weave(self, gaps: Sequence[Gap] = (), strays: Sequence[Stray] = ()) -> Array:
        """The mesh's picture (n, n, 3): wires taken away where ``gaps`` are, ``strays`` drawn besides."""
        covers, pictures, cells = [], [], []
        for family in (0, 1):
            across, _ = self.frame(family)
            cells.append(np.floor(across + 0.5).astype(int))
            picture, cover = self._wires(across, across - np.round(across))
            for _, taken in (gap for gap in gaps if gap[0] == family):
                cover = cover * (1 - taken)
            for _, distance, present in (stray for stray in strays if stray[0] == family):
                wire, wire_cover = self._wires(distance, distance)
                wire_cover = wire_cover * present
                picture, cover = mix(picture, wire, wire_cover), np.maximum(cover, wire_cover)
            pictures.append(picture)
            covers.append(cover)
        steel = 1 - (1 - covers[0]) * (1 - covers[1])
        ground = shade(self.backing, 1 - 0.55 * shadow(steel, self.light, 0.030, 0.012))
        # each wire passes over one crossing wire and under the next
        order = (cells[0] + cells[1]) % 2 == 0
        below = np.where(order[..., None], pictures[1], pictures[0])
        above = np.where(order[..., None], pictures[0], pictures[1])
        under, over = np.where(order, covers[1], covers[0]), np.where(order, covers[0], covers[1])
        # the upper wire shades the lower one where they cross
        below = shade(below, 1 - 0.5 * ndimage.gaussian_filter(over, 0.006 * self.size))
        return mix(mix(ground, below, under), above, over)

    def _wires(self, position: Array, distance: Array) -> tuple[Array, Array]:
        """Picture (n, n, 3) and opacity (n, n) of round wires at ``distance``, in units of the pitch;
        ``position`` is the same without the jumps from wire to wire."""
        down, right = np.gradient(position, np.float32(1 / self.size))
        # dividing by the gradient keeps a wire's thickness where it runs askew
        side = distance / np.maximum(np.hypot(down, right), 1e-3)
        height = self.radius * np.sqrt(np.clip(1 - (side / self.radius) ** 2, 0, 1))
        tilt = np.clip(slope(height, self.light), -1.6, 1.6)
        tone = self.metal * (0.52 + 0.24 * tilt) + 0.30 * smoothstep(0.55, 1.2, tilt)
        cover = np.clip((self.radius - np.abs(side)) * self.size + 0.5, 0, 1)
        return tone[..., None] * np.array((0.99, 1.0, 1.02), np.float32), cover


def woven(
    rng: Random,
    n: int,
    *,
    light: tuple[float, float],
    angles: tuple[float, float],
    pitch: float,
    radius: float,
    waver: float,
    metal: tuple[float, float],
    backing: Array,
    clouds: float,
) -> Mesh:
    """A mesh whose pitch, wires and backing vary from piece to piece; ``metal`` is their tone and how far it varies."""
    tone, grain = metal
    mesh = Mesh(
        rgb=backing,
        light=light,
        angles=angles,
        pitch=pitch * rng.uniform(0.95, 1.05),
        radius=radius,
        phases=tuple(rng.uniform(0, 1, 2)),
        waver=(waver * noise(rng, n, 0.25), waver * noise(rng, n, 0.25)),
        metal=tone + grain * noise(rng, n, 0.02),
        backing=shade(backing, 1 + clouds * noise(rng, n, 0.3) + 0.02 * noise(rng, n, 0.012)),
    )
    return replace(mesh, rgb=mesh.weave())


def grid(rng: Random, n: int) -> Mesh:
    """Woven steel mesh with diamond openings over a grey-green backing."""
    tilt = rng.normal(0, 0.035)
    return woven(
        rng,
        n,
        light=lamp(rng),
        angles=(0.87 + tilt, -0.87 + tilt),
        pitch=0.118,
        radius=0.0185,
        waver=0.03,
        metal=(1, 0.06),
        backing=plain(n, (0.23, 0.26, 0.27)),
        clouds=0.06,
    )
