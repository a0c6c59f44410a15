"""Material that is gone: holes, punctures, pores, cuts, cracks, tears, chips, missing parts."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.defects.common import mean_colour, radius, rim, shadow, spot, strength, union
from nand_core.drawing.materials import Material


def _depth(rng: Rng, m: Material) -> np.ndarray:
    """What is seen inside an opening: dark, or the ground behind."""
    if rng.random() < 0.35:
        return np.broadcast_to(m.behind, m.image.shape) * rng.uniform(0.5, 1.0)
    if rng.random() < 0.12:
        return np.broadcast_to(c.colour(rng, (0, 0.4), (0.7, 1.0)), m.image.shape)
    dark = mean_colour(m) * rng.uniform(0.0, 0.4)
    return dark + rng.uniform(0, 0.04) * c.white_noise(rng)[..., None]


def hole(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A through hole: round or ragged, with frayed, shaded or lit rim; sometimes several."""
    image, mask = m.image, np.zeros_like(m.solid)
    for _ in range(1 if rng.random() < 0.75 else rng.integers(2, 5)):
        centre, r = spot(rng, m), radius(rng, 3.5, 20)
        rough = rng.uniform(0.0, 0.15) if rng.random() < 0.5 else rng.uniform(0.15, 0.5)
        alpha = c.blob(rng, centre, r, rough, c.loguniform(rng, 1, 1.8), rng.choice([0.0, 0.7, 1.2]))
        if rng.random() < 0.6:
            edge = rim(alpha, rng.uniform(0.8, 2.5))
            image = c.blend(image, edge * rng.uniform(0.2, 0.8), mean_colour(m) * rng.uniform(0.2, 1.7))
        inside = _depth(rng, m)
        if rng.random() < 0.5:  # light falls on one wall
            wall = c.relief(c.blur(alpha, 2.0), rng.uniform(0, 6.3), rng.uniform(0.5, 3))
            inside = inside + np.clip(wall, -0.3, 0.6)[..., None] * mean_colour(m)
        image = c.blend(image, alpha * rng.uniform(0.75, 1.0), inside)
        if m.textile and rng.random() < 0.6:  # loose ends reach over the rim
            for _ in range(rng.integers(2, 9)):
                t = rng.uniform(0, 6.3)
                end = centre + r * np.array([np.cos(t), np.sin(t)])
                fibre = c.polyline(
                    c.wander(rng, end, r * rng.uniform(0.4, 1.2), 0.5, t + np.pi + rng.normal(0, 0.6)), 1
                )
                image = c.blend(image, fibre * 0.8, mean_colour(m) * rng.uniform(0.7, 1.5))
        mask = union(mask, alpha)
    return image, mask


def poke(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A puncture: a small dark pit with a pushed-up, lit and shaded rim."""
    image, mask = m.image, np.zeros_like(m.solid)
    for _ in range(1 if rng.random() < 0.6 else rng.integers(2, 7)):
        centre, r = spot(rng, m), radius(rng, 1.8, 7)
        pit = c.blob(rng, centre, r, rng.uniform(0, 0.3), c.loguniform(rng, 1, 1.7), rng.uniform(0, 1.2))
        d = c.ellipse(centre, (r, r))
        ring = np.exp(-((d - rng.uniform(1.4, 2.2)) ** 2) / rng.uniform(0.1, 0.6))
        light = c.relief(c.blur(ring, 1.0) * r, rng.uniform(0, 6.3), rng.uniform(0.15, 0.5))
        image = image * (1 + np.clip(light, -0.6, 0.8))[..., None]
        if rng.random() < 0.4:
            image = c.blend(image, ring * rng.uniform(0.1, 0.5), mean_colour(m) * rng.uniform(0.5, 1.7))
        image = c.blend(image, pit * rng.uniform(0.6, 1), mean_colour(m) * rng.uniform(0, 0.45))
        mask = union(mask, (d < 1.9).astype(np.float32))
    return image, mask


def pore(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Blowholes: sharp small dark pits without a rim, single or in clusters."""
    image, mask = m.image, np.zeros_like(m.solid)
    home, spread = spot(rng, m), rng.uniform(5, 45)
    for k in range(1 if rng.random() < 0.5 else rng.integers(2, 12)):
        centre = home if k == 0 else np.clip(home + rng.normal(0, spread, 2), 3, c.SIZE - 3)
        r = radius(rng, 1.3, 5.5)
        pit = c.blob(rng, centre, r, rng.uniform(0, 0.25), c.loguniform(rng, 1, 2.5), rng.uniform(0, 0.8))
        image = c.blend(image, pit * strength(rng, 0.5), mean_colour(m) * rng.uniform(0, 0.45))
        if rng.random() < 0.35:
            image = c.blend(image, rim(pit, 0.8) * rng.uniform(0.1, 0.6), mean_colour(m) * 1.5 + 0.1)
        mask = union(mask, pit)
    return image, mask


def cut(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A clean slit, tapered at both ends, closed or gaping, with lit lips; sometimes crossed or a flap."""
    image, mask = m.image, np.zeros_like(m.solid)
    angle = rng.uniform(0, np.pi)
    for _ in range(1 if rng.random() < 0.65 else rng.integers(2, 4)):
        length, gape = c.loguniform(rng, 16, 95), c.loguniform(rng, 1.2, 7)
        points = c.straight(rng, spot(rng, m), length, angle, rng.normal(0, 0.12), rng.uniform(0, 0.4), 14)
        width = gape * np.sin(np.linspace(0.05, np.pi - 0.05, 14)) ** rng.uniform(0.3, 1.0)
        gap = c.polyline(points, width)
        lips = np.clip(c.polyline(points, width + rng.uniform(1.5, 4)) - gap, 0, 1)
        lit = c.relief(c.blur(gap, 1.5), rng.uniform(0, 6.3), rng.uniform(0.5, 2.5))
        image = image * (1 + np.clip(lit, -0.5, 0.8))[..., None]
        if rng.random() < 0.6:
            image = c.blend(image, lips * rng.uniform(0.1, 0.7), mean_colour(m) * rng.uniform(0.9, 1.9))
        image = c.blend(image, gap * rng.uniform(0.6, 1), _depth(rng, m))
        mask = union(mask, gap, lips * 0.6)
        angle = angle + rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    return image, mask


def _jagged(rng: Rng, start: np.ndarray, heading: float, length: float) -> np.ndarray:
    steps = max(5, int(length / rng.uniform(2.5, 6)))
    turns = (
        heading + np.cumsum(rng.normal(0, 0.25, steps)) * 0.6 + rng.normal(0, rng.uniform(0.25, 0.6), steps)
    )
    moves = np.stack([np.cos(turns), np.sin(turns)], 1) * length / steps
    return np.concatenate([start[None], start + np.cumsum(moves, 0)])


def crack(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Jagged dark lines that fork, from a point, across the part or from its edge."""
    image, alpha = m.image, np.zeros_like(m.solid)
    start, heading = spot(rng, m), rng.uniform(0, 6.3)
    if rng.random() < 0.35:
        side = rng.integers(4)
        start = np.array(
            [
                (0, rng.uniform(0, 127)),
                (127, rng.uniform(0, 127)),
                (rng.uniform(0, 127), 0),
                (rng.uniform(0, 127), 127),
            ][side]
        )
        heading = (0, np.pi, np.pi / 2, -np.pi / 2)[side] + rng.normal(0, 0.4)
    width = c.loguniform(rng, 0.7, 3.2)
    arms = 1 if rng.random() < 0.6 else rng.integers(2, 5)
    for _ in range(arms):
        main = _jagged(rng, start, heading, c.loguniform(rng, 22, 130))
        taper = width * np.linspace(1, rng.uniform(0.3, 1), len(main)) * rng.uniform(0.6, 1.3, len(main))
        alpha = union(alpha, c.polyline(main, taper))
        for _ in range(rng.integers(0, 4)):
            k = rng.integers(len(main) - 1)
            way = np.arctan2(*(main[k + 1] - main[k])[::-1]) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
            alpha = union(
                alpha, c.polyline(_jagged(rng, main[k], way, c.loguniform(rng, 8, 40)), width * 0.6)
            )
        heading += rng.uniform(1, 5)
    if rng.random() < 0.3:
        alpha = c.blur(alpha, 0.6) * 1.2
    alpha = np.clip(alpha, 0, 1)
    tone = mean_colour(m) * rng.uniform(0, 0.5)
    if rng.random() < 0.1:
        tone = np.clip(mean_colour(m) * 1.7 + 0.15, 0, 1)
    if rng.random() < 0.4:
        image = (
            image
            * (1 + np.clip(c.relief(c.blur(alpha, 1.2), rng.uniform(0, 6.3), 1.2), -0.3, 0.4))[..., None]
        )
    return c.blend(image, alpha * strength(rng, 0.45), tone), alpha


def tear(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A long ragged opening with torn fibres or a light torn layer along its rim."""
    length, gape = c.loguniform(rng, 25, 90), rng.uniform(4, 14)
    points = c.straight(rng, spot(rng, m), length, None, rng.normal(0, 0.2), rng.uniform(0.5, 2.0), 18)
    profile = gape * np.sin(np.linspace(0.1, np.pi, 18)) * rng.uniform(0.5, 1.3, 18)
    gap = np.clip(c.polyline(points, profile + 0.8), 0, 1)
    ragged = np.clip(
        (c.blur(gap, 1.2) + 0.25 * c.band_noise(rng, 1.0) * (c.blur(gap, 2) > 0.1) - 0.35) * 3, 0, 1
    )
    edge = rim(ragged, rng.uniform(1.2, 3))
    light = np.clip(mean_colour(m) * rng.uniform(1.1, 2.0) + 0.1, 0, 1)
    image = c.blend(
        m.image, edge * rng.uniform(0.3, 0.9) * (0.7 + 0.3 * c.band_noise(rng, 0.8)).clip(0, 1), light
    )
    image = c.blend(image, ragged, _depth(rng, m))
    for _ in range(rng.integers(0, 10)):
        fibre = c.polyline(
            c.wander(rng, points[rng.integers(18)], rng.uniform(4, 14), 0.7), rng.uniform(0.6, 1.2)
        )
        image = c.blend(image, fibre * 0.8, light)
    return image, union(ragged, edge * 0.6)


def missing(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A whole piece is gone: the ground behind shows in a sharply bounded, often straight-edged area."""
    centre = spot(rng, m)
    if rng.random() < 0.5:
        a = rng.uniform(0, np.pi) if m.pitch == 0 else m.angle
        half, other = radius(rng, 8, 32), radius(rng, 8, 32)
        x, y = c.XX - centre[0], c.YY - centre[1]
        alpha = (np.abs(x * np.cos(a) + y * np.sin(a)) < half) & (
            np.abs(y * np.cos(a) - x * np.sin(a)) < other
        )
        alpha = alpha.astype(np.float32)
    else:
        alpha = c.blob(rng, centre, radius(rng, 9, 30), 0.3)
    behind = np.broadcast_to(m.behind, m.image.shape)
    if not m.open:
        behind = behind * rng.uniform(0.3, 1.2) + rng.uniform(0, 0.05) * c.white_noise(rng)[..., None]
    image = shadow(c.blend(m.image, alpha, behind), 1 - alpha, rng)
    return image, alpha if not m.open else alpha * np.clip(c.blur(m.solid, 1.5) * 2, 0, 1)


def chip(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A piece broken off an edge: shell-shaped facets, brighter or darker, at the part's or frame's edge."""
    solid = m.solid > 0.5
    if not m.open and not solid.all():
        inner = solid & ~np.asarray(c.blur(m.solid, 2.0) > 0.93)
        ys, xs = np.nonzero(inner)
    else:
        ys = xs = np.empty(0, int)
    if len(xs) > 20:
        k = rng.integers(len(xs))
        centre = np.array([xs[k], ys[k]], float)
    else:
        at, far = rng.uniform(0, 127), rng.choice([-2.0, 129.0]) + rng.normal(0, 2)
        centre = np.array([at, far] if rng.random() < 0.5 else [far, at])
    alpha = c.blob(rng, centre, radius(rng, 5, 22), rng.uniform(0.1, 0.35), c.loguniform(rng, 1, 2.5))
    alpha = alpha * c.blur(m.solid, 0.5)
    bands = np.sin(c.ellipse(centre, (1, 1)) / rng.uniform(1.5, 4) + c.smooth_noise(rng, 12) * 2)
    facet = mean_colour(m) * (rng.uniform(0.25, 0.75) if rng.random() < 0.6 else rng.uniform(1.2, 1.9))
    facet = (
        facet
        + 0.0 * m.image
        + (rng.uniform(0, 0.12) * bands + rng.uniform(0, 0.05) * c.white_noise(rng))[..., None]
    )
    if rng.random() < 0.25:
        facet = np.broadcast_to(m.behind, m.image.shape)
    image = c.blend(m.image, alpha * strength(rng, 0.4), facet)
    edge = c.relief(c.blur(alpha, 1.0), rng.uniform(0, 6.3), rng.uniform(0.2, 1.5))
    return image + np.clip(edge, -0.25, 0.4)[..., None] * (0.3 + mean_colour(m)), alpha
