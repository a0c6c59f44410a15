"""Changed shape or structure: dented, folded, bent, broken, worn, uneven, peeled, displaced."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.defects.common import mean_colour, radius, shadow, spot, strength, union
from nand_core.drawing.materials import Material


def dent(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A shallow depression or bump: smooth light on one side, shade on the other."""
    centre, r = spot(rng, m), radius(rng, 5, 24)
    d = c.ellipse(centre, (r, r * rng.uniform(0.6, 1.4)), rng.uniform(0, 3))
    height = (
        np.exp(-(d**2) * rng.uniform(1.0, 2.0)) if rng.random() < 0.6 else 1 / (1 + np.exp((d - 0.8) * 7))
    )
    light = c.relief(height * r, rng.uniform(0, 6.3), rng.uniform(0.25, 0.8))
    image = m.image * (1 + np.clip(light, -0.75, 0.9))[..., None]
    if rng.random() < 0.35:
        image = image * (1 - rng.uniform(0, 0.4) * height)[..., None]
    return image, (d < 1.15).astype(np.float32)


def fold(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A crease or wrinkle: a long soft ridge, lit on one side, dark on the other."""
    image, mask = m.image, np.zeros_like(m.solid)
    angle = rng.uniform(0, np.pi)
    for _ in range(1 if rng.random() < 0.6 else rng.integers(2, 4)):
        points = c.straight(
            rng, spot(rng, m), c.loguniform(rng, 35, 170), angle, rng.normal(0, 0.2), rng.uniform(0, 1), 14
        )
        width = rng.uniform(1.0, 4.0)
        ridge = c.blur(
            c.polyline(points, width * np.sin(np.linspace(0.2, np.pi - 0.2, 14)) + 0.6), width * 0.7
        )
        ridge = ridge / (ridge.max() + 1e-6)
        across = angle + np.pi / 2
        light = c.relief(ridge * width, across * 1.0 + rng.choice([0, np.pi]), rng.uniform(0.4, 1.0))
        if rng.random() < 0.5:
            shift = ridge * rng.uniform(1, 4)
            image = c.sample(image, c.XX + shift * np.cos(across), c.YY + shift * np.sin(across))
        image = image * (1 + np.clip(light, -0.65, 0.9) - rng.uniform(0, 0.5) * ridge**3)[..., None]
        mask = union(mask, np.clip(ridge * 2.2, 0, 1))
        angle += rng.normal(0, 0.5)
    return image, mask


def _warp(m: Material, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    x, y = c.XX + dx, c.YY + dy
    if not m.open:
        return c.sample(m.image, x, y)
    solid = c.sample(m.solid, x, y)
    return np.where((np.maximum(solid, m.solid) > 0.02)[..., None], c.sample(m.image, x, y), m.image)


def bent(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Strands, lines or edges pushed out of place, locally: the pattern bulges, is squeezed or swirled."""
    centre = spot(rng, m, 22)
    r = radius(rng, 11, 34) if m.pitch == 0 else float(np.clip(m.pitch * rng.uniform(0.9, 2.4), 10, 40))
    d = c.ellipse(centre, (r, r * c.loguniform(rng, 0.6, 1.6)), rng.uniform(0, 3))
    bump = np.exp(-2 * d**2)
    push = rng.uniform(0.3, 0.75) * (m.pitch if 6 < m.pitch < 30 else r * 0.45)
    kind = rng.integers(3)
    if kind == 0:
        way = m.angle + rng.choice([0, np.pi / 2]) if rng.random() < 0.6 else rng.uniform(0, 6.3)
        dx, dy = push * bump * np.cos(way), push * bump * np.sin(way)
    elif kind == 1:
        sign, x, y = rng.choice([-1, 1]), (c.XX - centre[0]) / r, (c.YY - centre[1]) / r
        dx, dy = sign * 1.6 * push * bump * x, sign * 1.6 * push * bump * y
    else:
        x, y = (c.XX - centre[0]) / r, (c.YY - centre[1]) / r
        dx, dy = 1.6 * push * bump * -y, 1.6 * push * bump * x
    image = _warp(m, dx, dy)
    if rng.random() < 0.3:
        image = image * (1 + 0.25 * c.relief(bump * r, rng.uniform(0, 6.3), 0.5))[..., None]
    moved = np.clip((np.hypot(dx, dy) - 1.2) * 2, 0, 1)
    if m.open:
        moved = moved * np.clip(
            c.blur(np.maximum(m.solid, (np.abs(image - m.image).sum(-1) > 0.05)), 1.0) * 3, 0, 1
        )
    return image, moved


def broken(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A strand, wire, yarn or line is interrupted, with or without free ends."""
    way = m.angle + rng.choice([0, np.pi / 2])
    centre = spot(rng, m, 18)
    pitch = m.pitch if m.pitch > 3 else rng.uniform(6, 14)
    x, y = c.XX - centre[0], c.YY - centre[1]
    u, v = x * np.cos(way) + y * np.sin(way), y * np.cos(way) - x * np.sin(way)
    thick = float(np.clip(pitch * rng.uniform(0.55, 1.1), 3, 22))
    long = float(np.clip(pitch * c.loguniform(rng, 0.4, 3.0), 4, 70))
    ragged = rng.uniform(0, 2.5) * c.smooth_noise(rng, 4)
    gap = np.clip(long / 2 - np.abs(u) + ragged, 0, 1) * np.clip(
        thick / 2 - np.abs(v) + 0.5 + 0.3 * ragged, 0, 1
    )
    behind = np.broadcast_to(m.behind, m.image.shape)
    if m.open:
        mask = np.clip(gap * c.blur(m.solid, 1.2) * 2.5, 0, 1)
        image = c.blend(m.image, gap * np.clip(m.solid * 2, 0, 1), behind)
        tips = gap * 0
    else:
        floor = 0.6 * mean_colour(m) * rng.uniform(0.3, 1) + 0.4 * behind
        floor = floor * (1 + 0.08 * c.white_noise(rng))[..., None]
        image, mask = c.blend(m.image, gap * rng.uniform(0.6, 1), floor), gap
        tips = gap * 0
    if rng.random() < 0.6:  # the free ends stick out
        for side in (-1, 1):
            end = centre + side * long / 2 * np.array([np.cos(way), np.sin(way)])
            points = c.wander(
                rng,
                end,
                rng.uniform(0.3, 1.0) * min(pitch, 20),
                0.5,
                way + rng.normal(0, 0.9) + (side > 0) * 0,
            )
            tips = union(tips, c.polyline(points, max(0.8, pitch * 0.14)))
        solid = m.image[m.solid > 0.5]
        image = c.blend(image, tips, solid.mean(0) if len(solid) else mean_colour(m))
    return image, union(mask, tips * 0.8)


def fray(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A worn area: texture rubbed smooth, darker or paler; on textiles, fuzzy loose fibres."""
    centre = spot(rng, m, 10)
    alpha = c.blob(
        rng,
        centre,
        radius(rng, 12, 36),
        rng.uniform(0.05, 0.3),
        c.loguniform(rng, 1, 2.6),
        rng.uniform(0.3, 2),
    )
    if m.textile and rng.random() < 0.6:
        fibres = np.zeros_like(alpha)
        for _ in range(rng.integers(10, 26)):
            at = centre + rng.normal(0, 9, 2)
            fibres = union(
                fibres,
                c.polyline(c.wander(rng, at, rng.uniform(6, 20), 0.7, points=10), rng.uniform(0.5, 1.2)),
            )
        near = np.clip(c.blur(fibres, 2.0) * 3, 0, 1)
        smooth = c.blend(m.image, near * 0.6, c.blur(m.image, 2.0))
        return c.blend(
            smooth, fibres * 0.8, np.clip(mean_colour(m) * rng.uniform(0.8, 1.8) + 0.1, 0, 1)
        ), near
    smooth = c.blur(m.image, rng.uniform(0.8, 4))
    level = rng.uniform(0.35, 0.85) if rng.random() < 0.75 else rng.uniform(1.2, 1.6)
    worn = (
        smooth
        * level
        * (1 + rng.uniform(0, 0.03) * c.white_noise(rng) + rng.uniform(0, 0.08) * c.smooth_noise(rng, 10))[
            ..., None
        ]
    )
    return c.blend(m.image, alpha * rng.uniform(0.6, 1), worn), alpha


def uneven(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A grinding step: brightness and texture change across a line or in a band, up to the image's edge."""
    way = rng.choice([m.angle, m.angle + np.pi / 2, rng.uniform(0, np.pi)]) + rng.normal(0, 0.15)
    u, v = c.directions(way)
    v = v + rng.normal(0, 0.002) * u * u + rng.uniform(0, 2) * c.smooth_noise(rng, 20)
    edge = rng.uniform(-45, 45)
    soft = c.loguniform(rng, 0.6, 8)
    alpha = np.clip((v - edge) / soft + 0.5, 0, 1)
    if rng.random() < 0.5:
        alpha = alpha * np.clip((edge + rng.uniform(14, 60) - v) / soft + 0.5, 0, 1)
    if alpha.mean() > 0.6:
        alpha = 1 - alpha
    level = c.loguniform(rng, 0.4, 0.85) if rng.random() < 0.55 else c.loguniform(rng, 1.2, 1.9)
    other = c.blur(m.image, rng.uniform(0.5, 2)) if rng.random() < 0.4 else m.image
    if rng.random() < 0.45:  # other marks of the tool
        lines = c.turn(
            c.blur(c.white_noise(rng), (0.4, rng.uniform(5, 25))),
            m.angle + rng.choice([0, np.pi / 2, rng.uniform(0, 3)]),
        )
        other = other * (1 + rng.uniform(0.05, 0.25) * c.standardise(lines))[..., None]
    image = c.blend(m.image, alpha * strength(rng, 0.5), other * level)
    if rng.random() < 0.4:
        step = np.clip(1 - np.abs(v - edge) / rng.uniform(0.8, 2.5), 0, 1)
        image = image * (1 + rng.choice([-1, 1]) * rng.uniform(0.1, 0.5) * step)[..., None]
    return image, alpha


def peel(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Flaked coating: sharp angular patches show another layer, with a lifted, shaded rim."""
    alpha, home = np.zeros_like(m.solid), spot(rng, m)
    for _ in range(1 if rng.random() < 0.5 else rng.integers(2, 7)):
        at = home + rng.normal(0, 12, 2)
        alpha = union(
            alpha, c.polygon(c.outline(rng, at, radius(rng, 4, 20), 0.55, corners=int(rng.integers(7, 16))))
        )
    layer = c.contrasting(rng, mean_colour(m), 0.2, saturation=(0, 0.6))
    layer = layer * (1 + rng.uniform(0, 0.15) * c.fractal_noise(rng, 8))[..., None]
    image = c.blend(shadow(m.image, 1 - alpha, rng, 2.5), alpha, layer)
    edge = c.relief(c.blur(alpha, 0.8), rng.uniform(0, 6.3), rng.uniform(0.5, 1.5))
    return image * (1 + np.clip(edge, -0.5, 0.6))[..., None], alpha


def misplaced(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A block of the pattern is shifted, turned or swapped with a piece from elsewhere."""
    centre, a = spot(rng, m, 24), m.angle if rng.random() < 0.5 else rng.uniform(0, np.pi)
    x, y = c.XX - centre[0], c.YY - centre[1]
    w, h = radius(rng, 12, 34), radius(rng, 9, 26)
    alpha = (
        (np.abs(x * np.cos(a) + y * np.sin(a)) < w) & (np.abs(y * np.cos(a) - x * np.sin(a)) < h)
    ).astype(np.float32)
    spin = rng.choice([0.0, np.pi / 2, rng.uniform(0.2, 1.4)])
    shift = rng.uniform(0.3, 0.7) * max(m.pitch, 12)
    sx = centre[0] + x * np.cos(spin) - y * np.sin(spin) + shift
    sy = centre[1] + x * np.sin(spin) + y * np.cos(spin) + rng.uniform(0, 1) * shift
    image = c.blend(m.image, alpha, c.sample(m.image, sx, sy) * rng.uniform(0.85, 1.15))
    seam = np.clip(c.blur(alpha, 0.8) * (1 - alpha) * 4, 0, 1)
    return image * (1 - rng.uniform(0, 0.5) * seam)[..., None], alpha
