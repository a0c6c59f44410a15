"""Defects of a material itself: holes, scratches, cuts, folds, dents, cracks, bent and broken wires.

Each takes the undamaged surface and a random generator and returns the picture (n, n, 3).
"""

from __future__ import annotations

import numpy as np

from nand_core.datasets.demo.paint import (
    Array,
    Random,
    Surface,
    bell,
    blob,
    coordinates,
    mix,
    noise,
    place,
    plain,
    shade,
    shadow,
    slope,
    smoothstep,
    trace,
    wander,
)
from nand_core.datasets.demo.textures import Mesh


def frayed_hole(surface: Surface, rng: Random) -> Array:
    """A hole in cloth: dark inside, torn fibres standing out of its rim."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    radius, centre = rng.uniform(0.055, 0.14), place(rng, 0.18)
    depth = blob(rng, n, radius, rough=0.2, stretch=rng.uniform(1, 1.7), centre=centre)
    depth = depth + 0.004 * noise(rng, n, 0.03)
    opening = smoothstep(-0.003, 0.003, depth)
    ground = plain(n, (0.20, 0.165, 0.13)) * rng.uniform(0.6, 1.2)
    ground = shade(ground, 1 + 0.25 * noise(rng, n, 0.02))
    ground = shade(ground, 1 - 0.75 * shadow(1 - opening, light, 0.03, 0.012))
    rgb = shade(rgb, 1 - 0.30 * bell(depth + 0.004, 0.008) * (1 - opening))
    rgb = mix(rgb, ground, opening)
    fibres = [_fibre(rng, centre, radius) for _ in range(rng.integers(5, 12))]
    stroke = trace(fibres, n)
    tuft = stroke.line(rng.uniform(0.0035, 0.0055) * (1 - 0.5 * stroke.along))
    # fibres belong to the rim: they hang over the opening but do not cross the cloth far from it
    tuft = tuft * smoothstep(-0.022, -0.012, depth) * smoothstep(0.035, 0.02, depth)
    tone = rng.uniform(0.40, 0.68, len(fibres))[stroke.piece]
    rgb = shade(rgb, 1 - 0.4 * shadow(tuft, light, 0.006, 0.003) * (1 - tuft))
    return mix(rgb, shade(plain(n, (1.0, 0.96, 0.88)), tone), 0.9 * tuft)


def _fibre(rng: Random, centre: Array, radius: float) -> Array:
    """A short curved hair across the rim of a hole."""
    angle, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 1.0)
    t = np.linspace(0, 1, 12)
    reach = radius * rng.uniform(0.95, 1.15) - rng.uniform(0.25, 0.7) * radius * t
    swing = angle + turn * t
    return (centre + np.stack([np.cos(swing), np.sin(swing)], axis=1) * reach[:, None]).astype(np.float32)


def bored_hole(surface: Surface, rng: Random) -> Array:
    """Round holes in wood: black at the bottom, one inner wall lit, raw splintered wood about the rim."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    count = rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])
    for _ in range(count):
        radius = rng.uniform(0.05, 0.12) / count**0.4
        depth = blob(rng, n, radius, rough=0.12, stretch=rng.uniform(1, 1.25))
        opening = smoothstep(-0.002, 0.002, depth)
        raw = bell(depth + 0.006, 0.006) * (1 - opening) * smoothstep(-1.5, 0.8, noise(rng, n, 0.02))
        rgb = mix(rgb, (0.88, 0.74, 0.54), 0.75 * raw)
        lit = shadow(1 - opening, (-light[0], -light[1]), 0.45 * radius, 0.14 * radius)
        shaded = shadow(1 - opening, light, 0.3 * radius, 0.2 * radius)
        wall = shade(plain(n, (0.42, 0.25, 0.12)), 1 + 0.25 * noise(rng, n, 0.015))
        inside = mix(plain(n, (0.05, 0.035, 0.025)), wall, lit * (1 - shaded))
        rgb = mix(rgb, inside, opening)
    return rgb


def scratch(surface: Surface, rng: Random) -> Array:
    """Straight thin marks, light where the material lies bare, each with a fine shade along one edge."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    count = int(rng.integers(1, 5))
    heading = rng.uniform(0, np.pi)
    base = place(rng, 0.25)
    curves = []
    for _ in range(count):
        line = wander(rng, rng.uniform(0.25, 0.8), 0.03, heading=heading + rng.normal(0, 0.12))
        curves.append(line - line[len(line) // 2] + base + rng.normal(0, 0.09, 2))
    stroke = trace([curve.astype(np.float32) for curve in curves], n)
    half = rng.uniform(0.0045, 0.0085, count)[stroke.piece]
    pressure = np.sin(np.pi * np.clip(stroke.along, 0.02, 0.98)) ** 0.4 * (0.9 + 0.12 * noise(rng, n, 0.06))
    groove = stroke.line(half * pressure)
    facing = np.sign(stroke.tangent[..., 0] * light[1] - stroke.tangent[..., 1] * light[0])
    edge = bell(stroke.side * facing - 1.2 * half, 0.003) * (stroke.distance < 2.5 * half) * (pressure > 0.3)
    rgb = shade(rgb, 1 - 0.25 * edge)
    bare = mix(rgb, (0.97, 0.90, 0.78), rng.uniform(0.6, 0.95))
    return mix(rgb, bare, groove * np.clip(pressure, 0, 1))


def cut(surface: Surface, rng: Random) -> Array:
    """A clean slit: dark between lips that have opened, their raw edges light, one lip lit."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    count = rng.choice([1, 2], p=[0.8, 0.2])
    for _ in range(count):
        stroke = trace([wander(rng, rng.uniform(0.25, 0.6), rng.uniform(0.05, 0.35))], n)
        open_ = np.clip(np.sin(np.pi * stroke.along), 0, 1) ** 0.8
        half = rng.uniform(0.008, 0.020) * open_
        past_ends = (stroke.along <= 0) | (stroke.along >= 1)
        lip = 0.012 * open_ + 1e-4
        out = np.clip(stroke.distance - half, 0, None)
        raised = 0.009 * open_ * np.exp(-out / lip) * ~past_ends
        tilt = np.clip(slope(raised, light), -0.8, 0.8) * (stroke.distance > half)
        rgb = shade(rgb, 1 + 0.65 * tilt)
        raw = shade(plain(n, (0.86, 0.68, 0.50)), 1 + 0.1 * noise(rng, n, 0.02))
        rgb = mix(rgb, raw, 0.85 * stroke.line(half + 0.009 * open_))
        rgb = mix(rgb, (0.045, 0.03, 0.025), stroke.line(half) * smoothstep(0.0, 0.004, half))
    return rgb


def fold(surface: Surface, rng: Random) -> Array:
    """A crease: a soft ridge along a line, light on one flank and in shade on the other."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    heading = np.arctan2(light[1], light[0]) + np.pi / 2 + rng.uniform(-0.9, 0.9)
    stroke = trace([wander(rng, rng.uniform(0.55, 1.1), rng.uniform(0.02, 0.2), heading=heading)], n)
    fade = smoothstep(0, 0.4, stroke.along) * smoothstep(1, 0.6, stroke.along)
    width = rng.uniform(0.016, 0.028)
    ridge = rng.choice([-1, 1]) * width * bell(stroke.side, width) * (0.85 + 0.1 * noise(rng, n, 0.1))
    tilt = slope(ridge, light) * fade
    rgb = shade(rgb, 1 + rng.uniform(0.8, 1.15) * np.clip(tilt, -0.75, 0.9))
    gloss = smoothstep(0.3, 0.8, tilt)
    rgb = mix(rgb, (0.95, 0.85, 0.75), 0.22 * gloss)
    return shade(rgb, 1 - 0.55 * fade * bell(stroke.side, 0.004))


def poke(surface: Surface, rng: Random) -> Array:
    """Small dents pressed in by something pointed: a shaded bowl, a dark puncture, a raised rim."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    count = rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])
    x, y = coordinates(n)
    for _ in range(count):
        centre, radius = place(rng), rng.uniform(0.030, 0.055)
        stretch = 1 + 0.15 * rng.normal()
        away = np.hypot((x - centre[0]) * stretch, (y - centre[1]) / stretch) / radius
        height = radius * (0.30 * bell(away - 1.0, 0.22) - 0.85 * bell(away, 0.42))
        rgb = shade(rgb, 1 + 0.62 * np.clip(slope(height, light), -1.2, 1.1))
        rgb = shade(rgb, 1 - 0.45 * bell(away, 0.45))
        outside = (away - rng.uniform(0.22, 0.36)) * radius * 3 + 0.006 * noise(rng, n, 0.02)
        pit = smoothstep(0.02, -0.02, outside)
        rgb = mix(rgb, (0.04, 0.03, 0.025), 0.95 * pit)
    return rgb


def crack(surface: Surface, rng: Random) -> Array:
    """A jagged branching line, black, thinner towards its ends, with chips broken out along it."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    heading, start = rng.uniform(0, 2 * np.pi), place(rng, 0.25)
    length = rng.uniform(0.45, 0.95)
    first = start - 0.5 * length * np.array((np.cos(heading), np.sin(heading)))
    curves, widths = [_jagged(rng, first, heading, length)], [rng.uniform(0.006, 0.010)]
    for _ in range(rng.integers(1, 5)):
        parent = rng.integers(len(curves))
        root = curves[parent][rng.integers(len(curves[parent]) // 4, 3 * len(curves[parent]) // 4)]
        turn = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
        curves.append(_jagged(rng, root, turn, length * rng.uniform(0.2, 0.45)))
        widths.append(0.7 * widths[parent])
    stroke = trace(curves, n)
    half = np.array(widths)[stroke.piece] * (1 - 0.75 * stroke.along) * (1 + 0.25 * noise(rng, n, 0.03))
    chips = half + 0.010 * smoothstep(1.0, 1.8, noise(rng, n, 0.05))
    rgb = mix(rgb, (0.90, 0.89, 0.86), 0.65 * stroke.line(chips + 0.004))
    gap = stroke.line(np.maximum(half, 0.0022))
    lit = shadow(gap, light, 0.004, 0.001) * (1 - gap)
    rgb = shade(rgb, 1 - 0.35 * lit)
    return mix(rgb, (0.10, 0.095, 0.09), 0.95 * gap)


def _jagged(rng: Random, start: Array, heading: float, length: float) -> Array:
    """A line of short straight steps whose direction jumps."""
    steps = max(4, round(length / 0.035))
    angle = heading + 0.55 * rng.standard_normal(steps) + 0.15 * np.cumsum(rng.standard_normal(steps)) / 2
    size = (length / steps) * rng.uniform(0.5, 1.5, steps)
    moves = np.stack([np.cos(angle), np.sin(angle)], axis=1) * size[:, None]
    return np.concatenate([[start], start + np.cumsum(moves, axis=0)]).astype(np.float32)


def _pick_wire(mesh: Mesh, rng: Random) -> tuple[int, Array, Array]:
    """A wire near the middle: its family, and for every pixel the position across (0 on it) and along."""
    family = int(rng.integers(2))
    across, along = mesh.frame(family)
    row, column = (place(rng, 0.28) * mesh.size).astype(int)
    return family, across - np.round(across[row, column]), along - along[row, column]


def bent(mesh: Mesh, rng: Random) -> Array:
    """Wires pushed out of their place over a stretch, as far as the next wire or beyond."""
    gaps, strays = [], []
    for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2])):
        family, across, along = _pick_wire(mesh, rng)
        push = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
        moved = push * bell(along, rng.uniform(0.04, 0.09))
        gaps.append((family, (np.abs(across) < 0.5).astype(np.float32)))
        strays.append((family, across - moved, np.ones_like(across)))
    return mesh.weave(gaps, strays)


def broken(mesh: Mesh, rng: Random) -> Array:
    """A wire with a piece missing, its two ends sprung aside."""
    gaps, strays = [], []
    for _ in range(rng.choice([1, 2], p=[0.7, 0.3])):
        family, across, along = _pick_wire(mesh, rng)
        half = rng.uniform(0.045, 0.09)
        aside = np.where(along < 0, *rng.normal(0, 0.28, 2))
        moved = aside * bell(np.abs(along) - half, 0.06)
        ragged = half + 0.005 * noise(rng, mesh.size, 0.02)
        gaps.append((family, (np.abs(across) < 0.5).astype(np.float32)))
        strays.append((family, across - moved, np.clip((np.abs(along) - ragged) * mesh.size + 0.5, 0, 1)))
    return mesh.weave(gaps, strays)
