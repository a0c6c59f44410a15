"""Defects that lie on a material: threads, metal, stains, liquids, glue, strokes, oil.

Each takes the undamaged surface and a random generator and returns the picture (n, n, 3).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

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

YARNS = (
    (0.78, 0.10, 0.12),
    (0.93, 0.91, 0.86),
    (0.12, 0.24, 0.66),
    (0.92, 0.76, 0.16),
    (0.08, 0.08, 0.10),
    (0.10, 0.50, 0.28),
)
DYES = (
    (0.70, 0.08, 0.10),
    (0.10, 0.22, 0.70),
    (0.08, 0.50, 0.22),
    (0.88, 0.68, 0.08),
    (0.46, 0.10, 0.52),
    (0.05, 0.55, 0.62),
)


def thread(surface: Surface, rng: Random) -> Array:
    """One or two loose threads: thin, curved, round, twisted of two plies, with a soft shadow."""
    rgb, n, light = surface.rgb, surface.size, surface.light
    for _ in range(rng.choice([1, 2], p=[0.75, 0.25])):
        stroke = trace([wander(rng, rng.uniform(0.4, 1.1), rng.uniform(0.5, 1.6))], n)
        radius = rng.uniform(0.007, 0.012)
        colour = np.clip(YARNS[rng.integers(len(YARNS))] + rng.normal(0, 0.03, 3), 0, 1)
        body = stroke.line(radius * (1 + 0.12 * noise(rng, n, 0.05)))
        rgb = shade(rgb, 1 - 0.55 * shadow(body, light, 1.4 * radius, 0.7 * radius))
        tilt = slope(np.sqrt(np.clip(radius**2 - stroke.distance**2, 0, None)), light)
        x, y = coordinates(n, 0.9)
        plies = np.sin(2 * np.pi * ((x if rng.random() < 0.5 else y) + stroke.side) / (3.2 * radius))
        brightness = 0.78 + 0.22 * np.clip(tilt, -1.5, 1.5) + 0.10 * plies
        rgb = mix(rgb, shade(plain(n, colour), brightness) + 0.03, body)
    return rgb


def metal(surface: Surface, rng: Random) -> Array:
    """Shiny shavings: curled turnings and bits of wire, glinting, with hard shadows."""
    rgb, n, light = surface.rgb, surface.size, surface.light
    pieces = int(rng.integers(1, 5))
    size = rng.uniform(1.0, 1.7) / pieces**0.3
    curves = [(_curl if rng.random() < 0.55 else _bit)(rng, size) for _ in range(pieces)]
    stroke = trace(curves, n)
    radius = rng.uniform(0.011, 0.016, pieces)[stroke.piece] * size**0.4
    radius = radius * (0.6 + 0.4 * np.sqrt(np.sin(np.pi * np.clip(stroke.along, 0.04, 0.96))))
    body = stroke.line(radius)
    rgb = shade(rgb, 1 - 0.65 * shadow(body, light, 0.020, 0.007))
    # a ribbon glints where it turns its flank to the lamp
    facing = np.abs(stroke.tangent[..., 0] * light[1] - stroke.tangent[..., 1] * light[0])
    tilt = slope(np.sqrt(np.clip(radius**2 - stroke.distance**2, 0, None)), light)
    tone = 0.30 + 0.42 * facing**2 + 0.24 * np.clip(tilt, -1.4, 1.4) + 0.06 * noise(rng, n, 0.02)
    bright = smoothstep(0.5, 0.95, facing + 0.15 * noise(rng, n, 0.04))
    glint = bell(stroke.side / radius - 0.1, 0.35) * bright
    steel, brass = (0.97, 1.0, 1.04), (1.12, 0.98, 0.66)
    tint = plain(n, brass if rng.random() < 0.3 else steel)
    return mix(rgb, shade(tint, tone) + 0.85 * glint[..., None], body)


def _curl(rng: Random, size: float) -> Array:
    """A turning: a loosening spiral drawn out along a line."""
    turns = rng.uniform(1.1, 2.6)
    t = np.linspace(0, 1, 120)
    angle = 2 * np.pi * turns * t + rng.uniform(0, 2 * np.pi)
    radius = size * rng.uniform(0.035, 0.065) * (1 - rng.uniform(0.2, 0.6) * t)
    pull = rng.normal(0, 0.07 * size, 2)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None] + pull * t[:, None]
    return (points + place(rng, 0.12)).astype(np.float32)


def _bit(rng: Random, size: float) -> Array:
    """A bit of wire: nearly straight, or bent once."""
    half = size * rng.uniform(0.06, 0.13)
    heading = rng.uniform(0, 2 * np.pi)
    turn = heading + (rng.normal(0, 0.15) if rng.random() < 0.5 else rng.uniform(0.5, 1.6))
    ends = [(-np.cos(heading), -np.sin(heading)), (0, 0), (np.cos(turn), np.sin(turn))]
    return (half * np.array(ends) + place(rng, 0.12)).astype(np.float32)


def color(surface: Surface, rng: Random) -> Array:
    """A stain of dye soaked in: the material's texture shows through; drops beside it now and then."""
    rgb, n = surface.rgb, surface.size
    radius = rng.uniform(0.05, 0.15)
    centre = place(rng)
    depth = blob(rng, n, radius, rough=0.35, stretch=rng.uniform(1, 2), centre=centre)
    for _ in range(rng.integers(0, 5)):
        away = centre + rng.normal(0, 1.3 * radius, 2)
        depth = np.maximum(depth, blob(rng, n, rng.uniform(0.008, 0.022), centre=away))
    depth = depth + 0.006 * noise(rng, n, 0.03)
    soft = rng.uniform(0.006, 0.02)
    soaked = smoothstep(-soft, soft, depth) * np.clip(0.85 + 0.12 * noise(rng, n, 0.08), 0, 1)
    soaked = soaked * rng.uniform(0.65, 0.95) + 0.25 * bell(depth - 0.006, 0.007)
    colour = np.clip(DYES[rng.integers(len(DYES))] + rng.normal(0, 0.04, 3), 0.02, 1)
    grey = rgb.mean(axis=-1, keepdims=True)
    dyed = colour * (0.25 + 1.1 * grey)
    return mix(rgb, dyed, soaked)


def _pool(rng: Random, n: int, radius: float) -> Array:
    """Depth of a spill: a few patches run together, with drops beside them."""
    centre = place(rng, 0.2)
    depth = blob(rng, n, radius, rough=0.2, stretch=rng.uniform(1, 1.8), centre=centre)
    for share in rng.uniform(0.25, 0.75, rng.integers(1, 4)):
        away = centre + rng.normal(0, 1, 2) * radius
        depth = np.maximum(depth, blob(rng, n, share * radius, rough=0.15, centre=away))
    # blurring joins touching patches as surface tension does
    return ndimage.gaussian_filter(depth, 0.008 * n)


def _highlights(surface: Surface, rng: Random, dome: Array, sharp: float) -> Array:
    """Mirror image of the lamp on a wet or glossy ``dome`` (its height): (n, n) in [0, 1]."""
    n = surface.size
    tilt = slope(ndimage.gaussian_filter(dome, 0.006 * n), surface.light)
    wobble = 0.12 * noise(rng, n, 0.03)
    return smoothstep(sharp, sharp + 0.25, tilt + wobble * (tilt > 0.1))


def liquid(surface: Surface, rng: Random) -> Array:
    """A spill of water: the material wet, darker and deeper in colour, a bright rim towards the lamp."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    depth = _pool(rng, n, rng.uniform(0.06, 0.145))
    inside = smoothstep(-0.003, 0.004, depth)
    dome = 0.014 * np.sqrt(np.clip(depth, 0, 0.03) / 0.03) + 0.0025 * noise(rng, n, 0.12)
    wet = np.clip(rgb, 0, 1) ** rng.uniform(1.3, 1.6) * rng.uniform(0.72, 0.88)
    tilt = np.clip(slope(ndimage.gaussian_filter(dome, 0.005 * n), light), -1, 1)
    # a drop is a lens: the rim facing the lamp reflects, the far side gathers the light, the rest is in shade
    wet = shade(wet, 1 - 0.22 * bell(depth - 0.004, 0.005) - 0.30 * np.clip(-tilt, 0, 1))
    rgb = shade(rgb, 1 - 0.25 * shadow(inside, light, 0.008, 0.005) * (1 - inside))
    rgb = mix(rgb, wet, inside)
    gleam = rng.uniform(0.75, 0.95) * _highlights(surface, rng, dome, 0.30)
    return mix(rgb, (0.97, 0.98, 1.0), gleam * inside)


def glue(surface: Surface, rng: Random) -> Array:
    """A dried blob of glue: milky, translucent, domed, with small highlights; threads drawn from it."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    radius = rng.uniform(0.045, 0.135)
    depth = _pool(rng, n, radius)
    if rng.random() < 0.5:
        string = trace([wander(rng, rng.uniform(0.2, 0.5), 0.6)], n)
        depth = np.maximum(depth, 0.012 - string.distance)
    inside = smoothstep(-0.003, 0.005, depth)
    thickness = np.sqrt(np.clip(depth, 0, 0.05) / 0.05)
    dome = 0.028 * thickness + 0.0012 * noise(rng, n, 0.03)
    tilt = np.clip(slope(ndimage.gaussian_filter(dome, 0.006 * n), light), -1, 1)
    milk = np.array((0.93, 0.91, 0.82)) + rng.normal(0, 0.02, 3)
    body = shade(plain(n, milk), 0.80 + 0.28 * tilt + 0.03 * noise(rng, n, 0.05))
    rgb = shade(rgb, 1 - 0.40 * shadow(inside, light, 0.010, 0.006) * (1 - inside))
    rgb = mix(rgb, body, inside * (rng.uniform(0.22, 0.45) + 0.28 * thickness))
    return mix(rgb, (1.0, 1.0, 0.98), 0.9 * inside * _highlights(surface, rng, dome, 0.42))


def glue_strip(surface: Surface, rng: Random) -> Array:
    """A strip of translucent tape: long, straight, cut square, hazy, with a glossy streak and wrinkles."""
    rgb, light, n = surface.rgb, surface.light, surface.size
    width, length = rng.uniform(0.045, 0.085), rng.uniform(0.45, 0.95)
    angle = rng.uniform(0, np.pi)
    x, y = coordinates(n, angle)
    shift = rng.uniform(-0.22, 0.22, 2)
    along, across = x - 0.5 - shift[0], y - 0.5 - shift[1] + 0.25 * rng.normal() * (x - 0.5) ** 2
    torn = 0.004 * noise(rng, n, 0.02)
    depth = np.minimum(length / 2 - np.abs(along) + torn, width / 2 - np.abs(across))
    inside = np.clip(depth * n + 0.5, 0, 1)
    hazy = rgb * 0.55 + 0.45 * ndimage.gaussian_filter(rgb, (0.02 * n, 0.02 * n, 0))
    tape = np.array((0.90, 0.84, 0.66)) + rng.normal(0, 0.02, 3)
    hazy = mix(hazy, tape, rng.uniform(0.38, 0.55))
    wrinkle = ndimage.gaussian_filter1d(noise(rng, n, 0.03), 0.02 * n, axis=0)
    gloss = bell(across - rng.uniform(-0.2, 0.2) * width, 0.10 * width)
    gloss = gloss * smoothstep(-0.6, 0.8, noise(rng, n, 0.25))
    hazy = shade(hazy, 1 + 0.05 * wrinkle)
    hazy = mix(hazy, (1, 1, 0.97), 0.65 * gloss + 0.45 * bell(depth - 0.005, 0.004))
    rgb = shade(rgb, 1 - 0.45 * shadow(inside, light, 0.009, 0.005))
    return mix(rgb, hazy, inside)


def gray_stroke(surface: Surface, rng: Random) -> Array:
    """A stroke of grey paint: streaks of the bristles along it, running dry at its end."""
    rgb, n = surface.rgb, surface.size
    half = rng.uniform(0.020, 0.040)
    stroke = trace([wander(rng, rng.uniform(0.35, 0.8), rng.uniform(0.1, 0.6))], n)
    bristles = 60
    streaks = ndimage.gaussian_filter(rng.standard_normal((bristles, 40)), (0.8, 4))
    streaks /= streaks.std()
    where = [(stroke.side / half + 1.2) / 2.4 * bristles, stroke.along * 39]
    streak = ndimage.map_coordinates(streaks, where, order=1, mode="nearest").astype(np.float32)
    load = 1.3 - 1.9 * stroke.along ** rng.uniform(1.5, 4) + 0.35 * streak
    paint = smoothstep(-0.35, 0.25, load) * stroke.line(half * (1 + 0.12 * streak))
    grey = shade(plain(n, (1, 1.01, 1.03)) * rng.uniform(0.22, 0.52), 1 + 0.12 * streak)
    return mix(rgb, grey, rng.uniform(0.72, 0.94) * paint)


def oil(surface: Surface, rng: Random) -> Array:
    """A patch of oil: dark and glossy, with the colours of thin films in bands along its rim."""
    rgb, n = surface.rgb, surface.size
    depth = _pool(rng, n, rng.uniform(0.06, 0.14)) + 0.004 * noise(rng, n, 0.06)
    inside = smoothstep(-0.004, 0.006, depth)
    dark = rgb * np.array((0.36, 0.31, 0.24)) * rng.uniform(0.8, 1.25)
    film = np.clip(depth, 0, None) * rng.uniform(18, 32) + 0.25 * noise(rng, n, 0.12)
    bands = 0.5 + 0.5 * np.cos(2 * np.pi * (film[..., None] + np.array((0.0, 0.36, 0.68))))
    thin = np.exp(-np.clip(depth, 0, None) / 0.035)
    colourful = rng.uniform(0.28, 0.46) * (0.3 + 0.7 * thin) * smoothstep(-2.2, 0.6, noise(rng, n, 0.15))
    patch = dark + colourful[..., None] * (bands - 0.2)
    rgb = mix(rgb, patch, inside * 0.95)
    dome = 0.020 * np.sqrt(np.clip(depth, 0, 0.05) / 0.05) + 0.005 * noise(rng, n, 0.08)
    return mix(rgb, (0.95, 0.97, 1.0), 0.8 * inside * _highlights(surface, rng, dome, 0.22))
