"""Stone, masonry and metal surfaces."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material
from nand_core.drawing.textures.common import grain_angle, two_tones


def stone(rng: Rng) -> Material:
    """Granite or terrazzo: grains of several colours and sizes."""
    dark, light = two_tones(rng, (0.05, 0.4), (0.0, 0.4))
    image = c.ramp(0.5 + 0.25 * c.fractal_noise(rng, rng.uniform(5, 40)), dark, light)
    for _ in range(rng.integers(1, 5)):
        grains = c.band_noise(rng, c.loguniform(rng, 0.5, 3.0))
        alpha = np.clip((grains - rng.uniform(0.6, 1.7)) * rng.uniform(2, 6), 0, 1) * rng.uniform(0.2, 0.95)
        image = c.blend(image, alpha, c.colour(rng, (0.0, 0.5)))
    return Material(image, image * 0.3)


def marble(rng: Rng) -> Material:
    """Clouds and soft veins."""
    dark, light = two_tones(rng, (0.1, 0.5), (0.0, 0.35))
    cloud = c.fractal_noise(rng, rng.uniform(20, 60), 4, 0.6)
    vein = np.exp(-np.abs(c.fractal_noise(rng, rng.uniform(25, 60), 4, 0.5)) * rng.uniform(5, 14))
    return Material(
        c.ramp(0.6 + 0.2 * cloud - rng.uniform(0.1, 0.5) * vein, dark, light), c.grey(0.1) + 0 * light
    )


def concrete(rng: Rng) -> Material:
    """Concrete, asphalt, gravel, soil."""
    dark, light = two_tones(rng, (0.3, 0.9), (0.0, 0.35))
    tone = 0.5 + 0.14 * c.fractal_noise(rng, c.loguniform(rng, 2, 30), 5, rng.uniform(0.6, 1.0))
    tone += c.relief(c.band_noise(rng, rng.uniform(0.7, 2)), rng.uniform(0, 6), rng.uniform(0, 0.2))
    return Material(c.ramp(tone, dark, light), c.grey(0.05) + 0 * light)


def cobble(rng: Rng) -> Material:
    """Rounded stones or scales with dark gaps."""
    pitch = c.loguniform(rng, 9, 26)
    u, v = c.directions(rng.uniform(0, np.pi))
    u, v = u + pitch * 0.3 * c.smooth_noise(rng, pitch), v + pitch * 0.3 * c.smooth_noise(rng, pitch)
    u = u + (np.floor(v / pitch) % 2) * pitch / 2
    height = np.sqrt(np.abs(np.sin(np.pi * u / pitch) * np.sin(np.pi * v / pitch)))
    dark, light = two_tones(rng, (0.4, 0.9), (0.0, 0.5))
    tone = 0.15 + 0.75 * height + 0.12 * np.sin(np.floor(u / pitch) * 7.7 + np.floor(v / pitch) * 3.1)
    return Material(
        c.ramp(tone + 0.05 * c.white_noise(rng), dark, light), dark * 0.4 + 0 * u[..., None], pitch=pitch
    )


def _joints(rng: Rng, angle: float, width: float, height: float, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of mortar and a brick number for every pixel."""
    u, v = c.directions(angle)
    row = np.floor(v / height)
    u = u + (row % 2) * width / 2 * rng.integers(0, 2) + rng.uniform(0, width)
    du, dv = np.abs(u % width - width / 2), np.abs(v % height - height / 2)
    edge = np.minimum(width / 2 - du, height / 2 - dv)
    return np.clip(gap - edge + 0.5, 0, 1), row * 57 + np.floor(u / width)


def brick(rng: Rng) -> Material:
    """Masonry or ceramic tiles with joints."""
    angle, height = grain_angle(rng), c.loguniform(rng, 18, 60)
    joint, number = _joints(rng, angle, height * rng.uniform(1.0, 2.4), height, rng.uniform(0.5, 2.2))
    dark, light = two_tones(rng, (0.2, 0.6))
    tone = (
        0.6
        + 0.2 * np.sin(number * 12.9)
        + rng.uniform(0.02, 0.2) * c.fractal_noise(rng, rng.uniform(3, 20), 3, 0.8)
    )
    image = c.blend(c.ramp(tone, dark, light), joint, c.grey(rng.uniform(0.1, 0.9)))
    image += rng.uniform(0, 0.05) * c.white_noise(rng)[..., None]
    return Material(image, c.grey(0.1) + 0 * image, angle=angle, pitch=height)


def brushed(rng: Rng) -> Material:
    """Brushed, rolled or turned metal."""
    angle = grain_angle(rng)
    lines = c.blur(c.white_noise(rng), (0.35, rng.uniform(8, 40)))
    if rng.random() < 0.15:
        r = c.ellipse(rng.uniform(20, 108, 2), (1, 1))
        lines = np.interp(r, np.arange(200), rng.standard_normal(200))
    else:
        lines = c.turn(lines, angle)
    tone = rng.uniform(0.15, 0.85) + rng.uniform(0.02, 0.12) * c.standardise(lines)
    v = c.directions(angle)[1]
    tone = tone + rng.uniform(0, 0.25) * np.cos(v / rng.uniform(15, 60) + rng.uniform(0, 6))
    tint = c.colour(rng, (0.0, 0.35), (0.85, 1.0))
    return Material(np.clip(tone, 0, 1)[..., None] * tint, c.grey(0.05) + 0 * tint, angle=angle)


def cast(rng: Rng) -> Material:
    """Ground grey casting: dim, with bright streaks that start at an edge, mottling and dark sides."""
    angle = float(rng.choice([0.0, np.pi / 2])) + rng.normal(0, 0.03)
    v = c.directions(angle)[1]
    tone = rng.uniform(0.12, 0.5) + rng.uniform(0.005, 0.03) * c.white_noise(rng)
    profile = np.clip(rng.standard_normal(c.SIZE) - rng.uniform(0.0, 1.2), 0, None)
    streak = np.interp(v + c.SIZE / 2, np.arange(c.SIZE), profile)
    along = np.clip(c.smooth_noise(rng, 50) * 0.5 + rng.uniform(-0.2, 0.8), 0, 1.5)
    speckle = 0.6 + 0.4 * np.abs(c.white_noise(rng))
    tone = tone + rng.uniform(0.0, 0.14) * streak * along * speckle
    tone = tone * (1 + rng.uniform(0, 0.18) * c.fractal_noise(rng, rng.uniform(10, 50)))
    side = np.abs(v) / 64 if rng.random() < 0.5 else np.clip((v * rng.choice([-1, 1]) + 20) / 80, 0, 1)
    tone = tone * (1 - rng.uniform(0, 0.8) * np.clip(side, 0, 1.2) ** rng.uniform(2, 6))
    tint = c.colour(rng, (0.0, 0.1), (0.95, 1.0))
    return Material(np.clip(tone, 0, 1)[..., None] * tint, c.grey(0.02) + 0 * tint, angle=angle)
