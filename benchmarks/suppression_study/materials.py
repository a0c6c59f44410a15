"""Five materials that the demo does not have, with the demo's ways to draw a defect on them."""

from __future__ import annotations

from functools import partial

import numpy as np

from nand_core.datasets.demo import damage, foreign
from nand_core.datasets.demo.paint import (
    Random,
    Surface,
    bell,
    coordinates,
    mix,
    noise,
    plain,
    shade,
    slope,
    smoothstep,
)
from nand_core.datasets.demo.photograph import Materials
from nand_core.datasets.demo.textures import Mesh, lamp, woven

_lamp = partial(lamp, angle=-0.25 * np.pi, spread=0.3)  # from the upper right


def denim(rng: Random, n: int) -> Surface:
    """Indigo twill: steep diagonal ribs over pale weft, worn unevenly."""
    x, y = coordinates(n, rng.normal(0, 0.04))
    ribs = 30 * rng.uniform(0.92, 1.08)
    phase = (x + 0.55 * y) * ribs + 0.10 * noise(rng, n, 0.12) + rng.uniform(0, 1)
    rib = 0.5 + 0.5 * np.cos(2 * np.pi * phase)
    weft = 0.5 + 0.5 * np.cos(2 * np.pi * (y * ribs * 1.6 + 0.5 * np.floor(phase)))
    worn = 0.5 + 0.22 * noise(rng, n, 0.25) + 0.12 * noise(rng, n, 0.01)
    pale = 0.55 * weft * (1 - rib) + 0.5 * worn - 0.15
    rgb = mix(plain(n, (0.14, 0.19, 0.36)), (0.42, 0.50, 0.66), pale)
    return Surface(shade(rgb, 0.72 + 0.38 * rib), _lamp(rng))


def steel(rng: Random, n: int) -> Surface:
    """Brushed steel sheet: fine horizontal lines and a broad sheen."""
    x, y = coordinates(n, rng.normal(0, 0.03))
    lines = 0.05 * noise(rng, n, 0.6, 0.008) + 0.035 * noise(rng, n, 0.25, 0.012)
    sheen = 0.16 * bell(y - rng.uniform(0.1, 0.9), 0.3) + 0.05 * noise(rng, n, 0.5)
    tone = 0.55 + lines + sheen + 0.03 * (x - 0.5)
    return Surface(shade(plain(n, (0.98, 1.0, 1.03)), tone), _lamp(rng))


def cardboard(rng: Random, n: int) -> Surface:
    """Tan cardboard: the flutes show as faint upright bands, flecks of fibre."""
    x, _ = coordinates(n, rng.normal(0, 0.02))
    flutes = np.cos(2 * np.pi * (x * rng.uniform(13, 16) + rng.uniform(0, 1)))
    fibres = smoothstep(1.2, 2.2, noise(rng, n, 0.03, 0.006)) + smoothstep(1.4, 2.4, noise(rng, n, 0.006, 0.025))
    tone = 0.95 + 0.035 * flutes + 0.04 * noise(rng, n, 0.2) + 0.02 * noise(rng, n, 0.01) - 0.16 * fibres
    return Surface(shade(plain(n, (0.72, 0.57, 0.41)), tone), _lamp(rng))


def concrete(rng: Random, n: int) -> Surface:
    """Grey cast concrete: clouded, sandy, with shallow pits."""
    light = _lamp(rng)
    pits = smoothstep(1.7, 2.3, noise(rng, n, 0.022))
    height = 0.0016 * noise(rng, n, 0.012) + 0.0022 * noise(rng, n, 0.04) - 0.007 * pits
    tone = 0.56 + 0.06 * noise(rng, n, 0.3) + 0.03 * noise(rng, n, 0.07) - 0.10 * pits
    rgb = shade(plain(n, (1.0, 0.985, 0.95)), tone + 0.16 * np.clip(slope(height, light), -1.2, 1.2))
    return Surface(rgb, light)


def sieve(rng: Random, n: int) -> Mesh:
    """Upright square mesh of dark wires over a pale backing."""
    tilt = rng.normal(0, 0.03)
    return woven(
        rng,
        n,
        light=_lamp(rng),
        angles=(tilt, np.pi / 2 + tilt),
        pitch=0.095,
        radius=0.0150,
        waver=0.025,
        metal=(0.62, 0.05),
        backing=plain(n, (0.70, 0.69, 0.64)),
        clouds=0.05,
    )


MATERIALS: Materials = {
    "denim": (
        denim,
        {"thread": foreign.thread, "hole": damage.frayed_hole, "color": foreign.color, "cut": damage.cut},
    ),
    "steel": (
        steel,
        {"scratch": damage.scratch, "oil": foreign.oil, "gray_stroke": foreign.gray_stroke, "poke": damage.poke},
    ),
    "cardboard": (
        cardboard,
        {"fold": damage.fold, "glue": foreign.glue, "liquid": foreign.liquid, "hole": damage.bored_hole},
    ),
    "concrete": (
        concrete,
        {"crack": damage.crack, "glue_strip": foreign.glue_strip, "color": foreign.color, "metal": foreign.metal},
    ),
    "sieve": (
        sieve,
        {"bent": damage.bent, "broken": damage.broken, "thread": foreign.thread, "metal": foreign.metal},
    ),
}
