"""Wood, leather, foam, paper, plastic, rubber."""

from __future__ import annotations

import colorsys

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material
from nand_core.drawing.textures.common import grain_angle, two_tones


def wood(rng: Rng) -> Material:
    """Grain from warped rings, with pores and sometimes planks."""
    angle = grain_angle(rng)
    u, v = c.directions(angle)
    warp = rng.uniform(2, 14) * c.smooth_noise(rng, rng.uniform(20, 70), aspect=1.0)
    warp = c.sample(warp, np.clip(c.SIZE / 2 + u * 0.3, 0, 127), np.clip(c.SIZE / 2 + v, 0, 127))
    rings = np.sin(2 * np.pi * (v + warp) / c.loguniform(rng, 5, 30)) * 0.5 + 0.5
    fibres = c.turn(c.blur(c.white_noise(rng), (0.4, rng.uniform(6, 20))), angle)
    height = (
        rng.uniform(0.2, 0.7) * rings ** rng.uniform(0.6, 2.5)
        + rng.uniform(0.05, 0.3) * c.standardise(fibres)
        + 0.3
    )
    hue = rng.uniform(0.03, 0.12)
    light = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.1, 0.75), rng.uniform(0.4, 1.0)), np.float32)
    if rng.random() < 0.15:
        light = c.colour(rng)
    dark = light * rng.uniform(0.3, 0.8) * np.array([1, 0.92, 0.82], np.float32)
    image = c.ramp(height, dark, light)
    if rng.random() < 0.5:
        pores = c.turn(
            (c.blur(c.white_noise(rng), (0.3, 3.0)) > rng.uniform(0.55, 0.8)).astype(np.float32), angle
        )
        image = c.blend(image, pores * rng.uniform(0.2, 0.6), light * 0.3)
    pitch = 0.0
    if rng.random() < 0.35:
        pitch = rng.uniform(25, 70)
        board = np.floor((v + rng.uniform(0, pitch)) / pitch)
        image = image * (1 + 0.12 * np.sin(board * rng.uniform(20, 90)))[..., None]
        joint = np.abs((v % pitch) - pitch / 2) < rng.uniform(0.4, 1.0)
        image = c.blend(image, joint * rng.uniform(0.3, 0.9), c.grey(0.05))
    return Material(image, c.grey(rng.uniform(0, 0.2)) + 0 * image, angle=angle, pitch=pitch)


def leather(rng: Rng) -> Material:
    """Pebbled hide: creases between cells, pores."""
    scale = c.loguniform(rng, 0.9, 4.5)
    cells = c.band_noise(rng, scale)
    height = np.tanh(np.abs(cells) * rng.uniform(1.0, 3.0))
    if rng.random() < 0.4:
        height = 0.6 * height + 0.4 * np.tanh(2 * np.abs(c.band_noise(rng, scale * 2)))
    height = height + rng.uniform(0, 0.1) * c.fractal_noise(rng, 35)
    light_from = rng.uniform(0, 6.3)
    dark, light = two_tones(rng, (0.2, 0.65), (0.0, 0.9))
    image = c.ramp(0.25 + 0.6 * height, dark, light)
    image = image + c.relief(c.blur(height, 0.6), light_from, rng.uniform(0, 0.3))[..., None]
    return Material(image, c.grey(rng.uniform(0.0, 0.5)) + 0 * image)


def foam(rng: Rng) -> Material:
    """Sponge, foam, bread: pores that belong."""
    dark, light = two_tones(rng, (0.2, 0.7))
    noise = c.band_noise(rng, c.loguniform(rng, 0.8, 3.5))
    pores = np.clip((noise - rng.uniform(0.2, 1.2)) * 1.5, 0, 1)
    tone = 0.8 - 0.7 * pores + 0.08 * c.fractal_noise(rng, 15)
    return Material(
        c.ramp(tone + c.relief(noise, rng.uniform(0, 6), 0.1), dark, light), dark * 0.4 + 0 * tone[..., None]
    )


def paper(rng: Rng) -> Material:
    """Paper, cardboard, felt, plaster: fine noise, fibres, faint bands."""
    angle = grain_angle(rng)
    base = c.colour(rng, (0.0, 0.6), (0.3, 1.0))
    tone = 1 + rng.uniform(0.005, 0.07) * c.fractal_noise(rng, rng.uniform(2, 12), 3, 0.8)
    if rng.random() < 0.4:
        tone = tone + rng.uniform(0.01, 0.06) * np.sin(
            c.directions(angle)[0] * 2 * np.pi / rng.uniform(4, 18)
        )
    if rng.random() < 0.4:
        fibres = np.abs(c.fractal_noise(rng, 6)) < 0.06
        tone = tone - rng.uniform(0.02, 0.12) * fibres
    return Material(base * tone[..., None], c.grey(rng.uniform(0, 0.6)) + 0 * base, angle=angle)


def plain(rng: Rng) -> Material:
    """Plastic, paint, glass, enamel: almost no texture."""
    base = c.colour(rng)
    tone = (
        1
        + rng.uniform(0, 0.03) * c.white_noise(rng)
        + rng.uniform(0, 0.1) * c.smooth_noise(rng, rng.uniform(20, 90))
    )
    return Material(base * tone[..., None], c.grey(rng.uniform(0, 0.5)) + 0 * base)


def ribbed(rng: Rng) -> Material:
    """Rubber mat, corrugated sheet, striped print."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 5, 28)
    u, _ = c.directions(angle)
    wave = np.sin(2 * np.pi * u / pitch)
    wave = np.sign(wave) * np.abs(wave) ** rng.uniform(0.15, 1.2)
    dark, light = two_tones(rng, (0.1, 0.9))
    image = c.ramp(0.5 + 0.45 * wave + rng.uniform(0, 0.08) * c.white_noise(rng), dark, light)
    return Material(image, c.grey(0.1) + 0 * light, angle=angle, pitch=pitch)
