"""Textiles and nets: weave, pile, knit, mesh, honeycomb, fur."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material
from nand_core.drawing.textures.common import grain_angle, two_tones


def weave(rng: Rng) -> Material:
    """Plain weave, basket weave or twill of round yarns."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 4, 16)
    u, v = c.directions(angle)
    wobble = rng.uniform(0, 0.12) * c.smooth_noise(rng, 25)
    i, j = u / pitch + wobble, v / pitch / rng.uniform(0.8, 1.25) + wobble
    kind = rng.integers(3)
    if kind == 2:
        over = (np.floor(i) + np.floor(j)) % rng.integers(3, 5) < rng.integers(1, 3)
    else:
        over = (np.floor(i / (kind + 1)) + np.floor(j / (kind + 1))) % 2 < 1
    def yarn(t: np.ndarray) -> np.ndarray:
        return np.sin(np.pi * (t % 1.0)) ** rng.uniform(0.4, 1.0)

    warp, weft = yarn(i) * (0.7 + 0.3 * yarn(j)), yarn(j) * (0.7 + 0.3 * yarn(i))
    dark, light = two_tones(rng, (0.3, 0.85))
    second = light if rng.random() < 0.6 else two_tones(rng)[1]
    height = np.where(over, warp, weft) + rng.uniform(0.02, 0.15) * c.white_noise(rng)
    image = np.where(over[..., None], c.ramp(height, dark, light), c.ramp(height, dark, second))
    return Material(image, c.grey(rng.uniform(0, 0.3)) + 0 * image, angle=angle, pitch=pitch, textile=True)


def carpet(rng: Rng) -> Material:
    """Tufted or looped pile, plain, mottled or in lines."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 2.5, 9)
    height = c.band_noise(rng, c.loguniform(rng, 0.6, 2.2)) * 0.22 + 0.5
    if rng.random() < 0.6:
        u, v = c.directions(angle)
        rows = np.sin(2 * np.pi * (u / pitch + 0.1 * c.smooth_noise(rng, 8)))
        cross = np.sin(2 * np.pi * v / pitch / rng.uniform(0.7, 1.4)) if rng.random() < 0.5 else 0
        height = height + rng.uniform(0.05, 0.25) * (rows + cross)
    height += rng.uniform(0, 0.12) * c.fractal_noise(rng, 30)
    dark, light = two_tones(rng, (0.35, 0.9))
    image = c.ramp(height, dark, light)
    if rng.random() < 0.3:
        image = c.blend(image, (c.band_noise(rng, 1.2) > 1.0) * rng.uniform(0.2, 0.7), c.colour(rng))
    return Material(image, c.grey(rng.uniform(0, 0.4)) + 0 * image, angle=angle, pitch=pitch, textile=True)


def fur(rng: Rng) -> Material:
    """Grass, fleece, bristles: many short strokes of one main direction."""
    angle = rng.uniform(0, np.pi)
    strokes = c.turn(c.blur(c.white_noise(rng), (0.4, rng.uniform(2, 7))), angle)
    flow = c.turn(c.blur(c.white_noise(rng), (0.4, rng.uniform(2, 7))), angle + rng.uniform(0.3, 1.2))
    tone = 0.5 + 0.2 * c.standardise(strokes) + 0.12 * c.standardise(flow) + 0.08 * c.smooth_noise(rng, 25)
    dark, light = two_tones(rng, (0.4, 0.95))
    return Material(c.ramp(tone, dark, light), dark * 0.4 + 0 * tone[..., None], angle=angle, textile=True)


def knit(rng: Rng) -> Material:
    """Rows of stitches."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 6, 16)
    u, v = c.directions(angle)
    side = np.abs((u / pitch) % 1 - 0.5) * 2
    stitch = np.sin(2 * np.pi * (v / pitch * rng.uniform(1.0, 1.5) + side * rng.uniform(0.4, 0.8))) * np.sin(
        np.pi * side
    )
    dark, light = two_tones(rng, (0.3, 0.8))
    return Material(
        c.ramp(0.55 + 0.4 * stitch + 0.06 * c.white_noise(rng), dark, light),
        dark * 0.3 + 0 * u[..., None],
        angle=angle,
        pitch=pitch,
        textile=True,
    )


def corduroy(rng: Rng) -> Material:
    """Soft wales with fine cross lines."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 5, 14)
    u, v = c.directions(angle)
    tone = (
        0.5
        + 0.3 * np.sin(2 * np.pi * u / pitch)
        + 0.1 * np.sin(2 * np.pi * v / 2.7)
        + 0.08 * c.band_noise(rng, 0.8)
    )
    dark, light = two_tones(rng, (0.3, 0.7))
    return Material(
        c.ramp(tone, dark, light), dark * 0.3 + 0 * u[..., None], angle=angle, pitch=pitch, textile=True
    )


def backdrop(rng: Rng) -> np.ndarray:
    """What is seen behind a net: one colour with soft clouds."""
    base = c.colour(rng, (0.0, 0.6), (0.02, 1.0))
    return np.clip(base + rng.uniform(0, 0.06) * c.smooth_noise(rng, rng.uniform(10, 60))[..., None], 0, 1)


def _wires(rng: Rng, phase: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and roundness of parallel wires; ``phase`` in pixels modulo the pitch, centred on 0."""
    return np.clip(half - np.abs(phase) + 0.5, 0, 1), np.sqrt(np.clip(1 - (phase / (half + 0.3)) ** 2, 0, 1))


def mesh(rng: Rng) -> Material:
    """Wire grid: square, oblong or diamond, flat or woven, in front of a backdrop."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 9, 34)
    u, v = c.directions(angle)
    if rng.random() < 0.3:
        skew = rng.uniform(0.4, 1.2)
        u, v = u + skew * v, u - skew * v
        pitch *= 1.4
    other = pitch * (1 if rng.random() < 0.6 else rng.uniform(0.6, 1.7))
    half = pitch * rng.uniform(0.07, 0.2)
    half = max(half, 0.8)
    du = (u + rng.uniform(0, pitch)) % pitch - pitch / 2
    dv = (v + rng.uniform(0, other)) % other - other / 2
    au, ru = _wires(rng, du, half)
    av, rv = _wires(rng, dv, half)
    behind = backdrop(rng)
    wire = c.contrasting(rng, behind.mean((0, 1)), 0.25, saturation=(0.0, 0.5))
    round_off = rng.uniform(0.1, 0.8)
    over = (np.floor(u / pitch) + np.floor(v / other)) % 2 if rng.random() < 0.5 else np.ones_like(u)
    tone_u, tone_v = (
        wire * (1 - round_off + round_off * ru[..., None]),
        wire * (1 - round_off + round_off * rv[..., None]),
    )
    image = np.where(
        over[..., None] > 0,
        c.blend(c.blend(behind, au, tone_u), av, tone_v),
        c.blend(c.blend(behind, av, tone_v), au, tone_u),
    )
    image = image * (1 + rng.uniform(0, 0.1) * c.white_noise(rng)[..., None])
    return Material(image, behind, np.maximum(au, av), angle, pitch, open=True)


def honeycomb(rng: Rng) -> Material:
    """Hexagonal net or expanded metal."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 10, 28)
    u, v = c.directions(angle)
    waves = [np.cos(2 * np.pi / pitch * (u * np.cos(a) + v * np.sin(a))) for a in (0, 2.094, 4.189)]
    field = sum(waves) / 3
    solid = np.clip((rng.uniform(-0.12, 0.05) - field) * pitch * 0.7 + 0.5, 0, 1)
    behind = backdrop(rng)
    wire = c.contrasting(rng, behind.mean((0, 1)), 0.25, saturation=(0.0, 0.5))
    image = c.blend(
        behind, solid, c.ramp(0.7 + 0.3 * c.relief(field, rng.uniform(0, 6), pitch / 3), wire * 0.4, wire)
    )
    return Material(image, behind, solid, angle, pitch, open=True)
