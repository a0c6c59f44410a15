"""Things that wet, cover or colour: stains, glue, liquids, drops, blisters, rust, burns, mould, stickers."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.defects.common import mean_colour, radius, rim, shadow, spot, strength, union
from nand_core.drawing.materials import Material


def _gloss(rng: Rng, alpha: np.ndarray, sharp: float) -> np.ndarray:
    """Highlights of a wet, domed surface."""
    dome = np.sqrt(np.clip(c.blur(alpha, rng.uniform(1.5, 4)), 0, 1)) * alpha
    dome = dome + rng.uniform(0, 0.25) * c.smooth_noise(rng, rng.uniform(5, 14)) * alpha
    light = c.relief(dome, rng.uniform(0, 6.3), rng.uniform(2, 6))
    return np.clip(light - 0.25, 0, 1) ** sharp * alpha


def _spill(rng: Rng, m: Material, low: float, high: float, softness: float) -> np.ndarray:
    """A blob, several, or one with runs or satellites."""
    centre, r = spot(rng, m), radius(rng, low, high)
    alpha = c.blob(rng, centre, r, rng.uniform(0.05, 0.45))
    for _ in range(rng.integers(0, 4) if rng.random() < 0.5 else 0):
        alpha = union(alpha, c.blob(rng, centre + rng.normal(0, 1.2 * r, 2), r * rng.uniform(0.15, 0.7), 0.2))
    if rng.random() < 0.2:
        way = rng.uniform(0, 6.3)
        run = centre + np.outer(np.linspace(0, rng.uniform(1.5, 4) * r, 8), [np.cos(way), np.sin(way)])
        alpha = union(alpha, c.polyline(run + rng.normal(0, 0.6, run.shape), r * rng.uniform(0.2, 0.6)))
    return c.blur(alpha, softness) if softness > 0.3 else alpha


def stain(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A patch of foreign colour: dye, ink, paint, bleach; hard or soft, opaque or translucent."""
    kind = rng.integers(5)
    softness = rng.uniform(0, 1) if rng.random() < 0.55 else rng.uniform(1, 5)
    if kind == 4:  # splashes
        alpha, home = np.zeros_like(m.solid), spot(rng, m)
        for _ in range(rng.integers(4, 16)):
            at = home + rng.normal(0, rng.uniform(5, 22), 2)
            alpha = union(alpha, c.blob(rng, at, radius(rng, 1.2, 6), 0.2))
    else:
        alpha = _spill(rng, m, 4, 26, softness)
    base = mean_colour(m)
    tone = c.contrasting(rng, base, 0.25, saturation=(0.45, 1.0), value=(0.15, 1.0))
    if kind == 3:  # discoloured: the own colour, paler or with another hue
        tone = np.clip(
            base.mean()
            + (base - base.mean()) * rng.uniform(-1, 2)
            + rng.choice([-1, 1]) * rng.uniform(0.15, 0.4),
            0,
            1,
        )
    edge = 1 + rng.uniform(0, 0.8) * rim(1 - alpha, 1.5) if rng.random() < 0.3 else 1.0
    cover = np.clip(alpha * strength(rng, 0.3) * edge, 0, 1)
    if rng.random() < 0.3:
        cover = cover * np.clip(0.8 + 0.3 * c.smooth_noise(rng, rng.uniform(4, 14)), 0, 1)
    if rng.random() < 0.55:  # a dye keeps the texture: multiply, at equal brightness
        dyed = m.image.mean(-1, keepdims=True) / max(base.mean(), 0.05) * tone
        return c.blend(m.image, cover, 0.7 * dyed + 0.3 * m.image * tone), alpha
    return c.blend(m.image, cover, tone), alpha


def glue(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Adhesive: translucent, pale or yellowish, glossy, with a clear outline; blobs, beads or strings."""
    if rng.random() < 0.3:
        points = c.wander(rng, spot(rng, m, 15), rng.uniform(20, 80), rng.uniform(0.1, 0.6))
        alpha = c.polyline(points, rng.uniform(3, 9) * rng.uniform(0.6, 1.4, len(points)))
    else:
        alpha = _spill(rng, m, 5, 22, 0.0)
    alpha = c.blur(alpha, rng.uniform(0.4, 1.2))
    tone = np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.55, 1.0)], np.float32) * rng.uniform(0.6, 1.0)
    image = c.blend(m.image, alpha * rng.uniform(0.2, 0.75), tone)
    if rng.random() < 0.7:
        image = image * (1 - rng.uniform(0.1, 0.5) * rim(alpha, 0.9))[..., None]
    return image + rng.uniform(0.2, 0.9) * _gloss(rng, alpha, rng.uniform(1, 2.5))[..., None], alpha


def glue_strip(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A strip of glue or tape: long parallel edges, translucent, pale, matt or glossy, ends torn."""
    angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else rng.choice([0, np.pi / 2]) + rng.normal(0, 0.08)
    width, length = rng.uniform(5, 26), c.loguniform(rng, 35, 180)
    centre = spot(rng, m, 20)
    x, y = c.XX - centre[0], c.YY - centre[1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    v = v + rng.uniform(0, 0.05) * width * c.smooth_noise(rng, 15) + rng.normal(0, 0.0015) * u * u
    wave = rng.uniform(0, 3) * c.smooth_noise(rng, 5)
    alpha = np.clip(width / 2 - np.abs(v) + 0.5, 0, 1) * np.clip(length / 2 - np.abs(u) + wave, 0, 1)
    tone = np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.4, 1.0)], np.float32) * rng.uniform(0.45, 1.0)
    if rng.random() < 0.12:
        tone = c.colour(rng)
    cover = (
        alpha * rng.uniform(0.2, 0.85) * np.clip(1 + rng.uniform(0, 0.25) * c.smooth_noise(rng, 8), 0, 1.15)
    )
    image = c.blend(m.image, np.clip(cover, 0, 1), tone)
    if rng.random() < 0.6:
        image = image * (1 - rng.uniform(0.1, 0.5) * rim(alpha, 0.8))[..., None]
    if rng.random() < 0.5:  # beads, streaks or bubbles along it
        image = image + rng.uniform(0.1, 0.6) * _gloss(rng, alpha, 1.5)[..., None]
    if rng.random() < 0.3:
        image = image + (0.12 * alpha * np.sin(u * 2 * np.pi / rng.uniform(3, 10)))[..., None]
    return image, alpha


def liquid(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A wet or oily patch: darkens and smooths what is below, keeps its colour; runs, lined edge, sheen."""
    alpha = _spill(rng, m, 7, 32, rng.uniform(0.3, 3))
    wet = m.image * rng.uniform(0.35, 0.8)
    grey = wet.mean(-1, keepdims=True)
    wet = grey + (wet - grey) * rng.uniform(0.9, 1.5)
    if rng.random() < 0.5:
        wet = np.stack([c.blur(wet[..., k], rng.uniform(0.3, 1.3)) for k in range(3)], -1)
    if rng.random() < 0.35:  # a tint: tea, oil, coffee
        wet = wet * np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.4, 0.95)], np.float32)
    image = c.blend(m.image, alpha * strength(rng, 0.4), wet)
    edge = np.clip(1 - np.abs(alpha - 0.5) * 2.5, 0, 1)
    if rng.random() < 0.5:
        image = image * (1 - rng.uniform(0.1, 0.5) * edge)[..., None]
    if rng.random() < 0.2:  # rainbow of an oil film
        phase = c.fractal_noise(rng, 18) * rng.uniform(1, 3) + c.blur(alpha, 4) * 6
        film = np.stack([np.cos(phase + k) for k in (0, 2.1, 4.2)], -1)
        image = image + rng.uniform(0.03, 0.12) * alpha[..., None] * film
    if rng.random() < 0.45:
        image = image + rng.uniform(0.1, 0.7) * _gloss(rng, alpha, rng.uniform(1.5, 3))[..., None]
    return image, alpha


def drop(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Water drops: small round lenses, dark on one side, bright spot on the other."""
    image, mask, way = m.image, np.zeros_like(m.solid), rng.uniform(0, 6.3)
    for _ in range(rng.integers(1, 12)):
        centre, r = spot(rng, m), radius(rng, 2.5, 10)
        d = c.ellipse(centre, (r, r * rng.uniform(0.8, 1.2)), rng.uniform(0, 3))
        alpha = np.clip((1 - d) * r + 0.5, 0, 1)
        side = ((c.XX - centre[0]) * np.cos(way) + (c.YY - centre[1]) * np.sin(way)) / r
        image = (
            image
            * (1 + alpha * rng.uniform(0.2, 0.5) * np.clip(side, -1, 1) - 0.25 * alpha * (d > 0.8))[..., None]
        )
        shine = c.ellipse(
            centre - 0.45 * r * np.array([np.cos(way), np.sin(way)]), (0.28 * r + 0.4, 0.2 * r + 0.4), way
        )
        image = c.blend(image, np.clip(1.4 - shine, 0, 1) * rng.uniform(0.5, 1.0), 1.0)
        mask = union(mask, alpha)
    return image, mask


def bubble(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Blisters: domes or rings under the surface with a bright arc, transparent inside."""
    image, mask, way = m.image, np.zeros_like(m.solid), rng.uniform(0, 6.3)
    for _ in range(rng.integers(1, 7)):
        centre, r = spot(rng, m), radius(rng, 3.5, 15)
        d = c.ellipse(centre, (r, r * rng.uniform(0.75, 1.3)), rng.uniform(0, 3))
        ring = np.exp(-(((d - 0.92) * r / rng.uniform(0.9, 1.8)) ** 2))
        facing = np.cos(np.arctan2(c.YY - centre[1], c.XX - centre[0]) - way)
        image = image + (ring * rng.uniform(0.15, 0.5) * (facing + rng.uniform(-0.3, 0.3)))[..., None]
        image = image + rng.uniform(0.0, 0.12) * np.clip(1 - d, 0, 1)[..., None]
        mask = union(mask, (d < 1.05).astype(np.float32))
    return image, mask


def rust(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Corrosion: mottled orange-brown, speckled edge, spots or runs."""
    alpha = _spill(rng, m, 5, 26, rng.uniform(0.5, 3))
    mottle = c.fractal_noise(rng, rng.uniform(4, 10), 4, 0.8)
    cover = np.clip(alpha * 1.3 + 0.35 * mottle * (alpha > 0.05) - 0.25, 0, 1)
    hue = np.array([rng.uniform(0.5, 0.8), rng.uniform(0.22, 0.42), rng.uniform(0.05, 0.18)], np.float32)
    tone = hue * (0.75 + 0.3 * mottle + 0.12 * c.white_noise(rng))[..., None]
    return c.blend(m.image, cover * strength(rng, 0.45), tone), np.clip(cover * 1.5, 0, 1)


def burn(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Scorch: black core, brown halo, soft."""
    centre, r = spot(rng, m), radius(rng, 6, 26)
    d = c.ellipse(centre, (r, r * rng.uniform(0.6, 1.5)), rng.uniform(0, 3)) + 0.2 * c.fractal_noise(rng, 14)
    halo, core = np.clip(1.25 - d, 0, 1), np.clip((rng.uniform(0.3, 0.8) - d) * 3, 0, 1)
    image = m.image * (1 - halo[..., None] * rng.uniform(0.6, 1.0) * np.array([0.45, 0.65, 0.85], np.float32))
    return c.blend(image, core * rng.uniform(0.5, 0.95), c.grey(0.04)), np.clip(halo * 2, 0, 1)


def mold(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Colonies: many fuzzy greenish, black or white spots that crowd together."""
    alpha, home = np.zeros_like(m.solid), spot(rng, m)
    for _ in range(rng.integers(6, 26)):
        at = home + rng.normal(0, rng.uniform(6, 20), 2)
        alpha = union(alpha, c.polygon(c.outline(rng, at, radius(rng, 1.2, 6), 0.3, corners=14)))
    fuzz = np.clip(c.blur(alpha, 1.0) * (1 + 0.4 * c.band_noise(rng, 0.9)), 0, 1)
    tone = np.array([[0.25, 0.35, 0.2], [0.1, 0.1, 0.1], [0.85, 0.88, 0.85], [0.3, 0.45, 0.45]], np.float32)[
        rng.integers(4)
    ]
    return c.blend(m.image, fuzz * strength(rng, 0.4), tone), np.clip(fuzz * 2, 0, 1)


def sticker(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A label or patch: opaque flat rectangle or disc with a shadow, sometimes with lines of text."""
    centre, a = spot(rng, m, 20), rng.uniform(0, np.pi)
    w, h = radius(rng, 8, 28), radius(rng, 6, 20)
    if rng.random() < 0.3:
        alpha = np.clip((1 - c.ellipse(centre, (w, w))) * w + 0.5, 0, 1)
    else:
        box = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) @ np.array(
            [[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]
        )
        alpha = c.polygon(centre + box)
    tone = c.contrasting(rng, mean_colour(m), 0.3)
    image = c.blend(
        shadow(m.image, alpha, rng, 2.5), alpha, tone * (1 + 0.02 * c.white_noise(rng))[..., None]
    )
    if rng.random() < 0.4:
        v = (c.YY - centre[1]) * np.cos(a) - (c.XX - centre[0]) * np.sin(a)
        lines = (np.sin(v * 2 * np.pi / rng.uniform(4, 9)) > 0.3) * np.clip(c.blur(alpha, 2) * 4 - 3, 0, 1)
        image = c.blend(image, lines * (c.band_noise(rng, 1.2) > -0.4) * 0.8, np.clip(1 - tone, 0, 1))
    return image, alpha
