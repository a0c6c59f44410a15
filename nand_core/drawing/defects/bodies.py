"""Bodies lying on the surface: metal chips and wires, foreign objects, dust."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.defects.common import mean_colour, radius, shadow, spot, strength, union
from nand_core.drawing.materials import Material


def metal(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Metal contamination: shiny chips, shavings, curls, balls, staples, with glints and a hard shadow."""
    image, mask = m.image, np.zeros_like(m.solid)
    for _ in range(1 if rng.random() < 0.6 else rng.integers(2, 6)):
        centre, kind = spot(rng, m), rng.integers(5)
        if kind == 0:
            alpha = c.polygon(
                c.outline(rng, centre, radius(rng, 3, 11), 0.6, corners=int(rng.integers(4, 9)))
            )
        elif kind == 1:
            alpha = c.polyline(
                c.straight(rng, centre, radius(rng, 10, 50), None, rng.normal(0, 0.15)), rng.uniform(1.5, 5)
            )
        elif kind == 2:
            t = np.linspace(0, rng.uniform(4, 14), 40)
            r = rng.uniform(3, 10)
            a = rng.uniform(0, 6.3)
            spiral = np.stack([r * np.cos(t) + t * rng.uniform(0.5, 2), r * np.sin(t)], 1)
            alpha = c.polyline(
                centre + spiral @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]),
                rng.uniform(1, 3),
            )
        elif kind == 3:
            r = radius(rng, 3, 9)
            alpha = np.clip((1 - c.ellipse(centre, (r, r))) * r + 0.5, 0, 1)
        else:
            a, b = rng.uniform(0, 6.3), rng.uniform(5, 16)
            leg = np.array([[-b, b * 0.6], [-b, 0], [b, 0], [b, b * 0.6]]) @ np.array(
                [[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]
            )
            alpha = c.polyline(centre + leg, rng.uniform(1.5, 3.5))
        steel = rng.uniform(0.35, 0.85) * c.colour(rng, (0, 0.15 if rng.random() < 0.8 else 0.6), (0.85, 1))
        facets = 1 + rng.uniform(0.2, 0.6) * np.sin(
            c.directions(rng.uniform(0, 3))[0] / rng.uniform(1.0, 5) + rng.uniform(0, 6)
        )
        glint = np.clip(c.relief(c.blur(alpha, 1.2), rng.uniform(0, 6.3), rng.uniform(2, 5)), -0.5, 1)
        image = shadow(image, alpha, rng, 4.0, 0.8)
        image = c.blend(image, alpha, steel * facets[..., None] + (glint * rng.uniform(0.3, 1))[..., None])
        mask = union(mask, alpha)
    return image, mask


def foreign(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Debris: matt crumbs, stones, seeds, insects, plastic pieces, with soft shading and a shadow."""
    image, mask = m.image, np.zeros_like(m.solid)
    for _ in range(1 if rng.random() < 0.55 else rng.integers(2, 8)):
        centre, r = spot(rng, m), radius(rng, 2.5, 13)
        alpha = c.polygon(c.outline(rng, centre, r, rng.uniform(0.05, 0.5), corners=int(rng.integers(5, 30))))
        if rng.random() < 0.15:  # legs
            for _ in range(6):
                t = rng.uniform(0, 6.3)
                alpha = union(alpha, c.polyline(c.straight(rng, centre, 3.5 * r, t, 0.2), 1))
        shade = np.clip(
            c.relief(c.blur(alpha, max(1.0, r / 3)) * r, rng.uniform(0, 6.3), rng.uniform(0.2, 0.6)),
            -0.5,
            0.5,
        )
        tone = (
            c.contrasting(rng, mean_colour(m), 0.25, saturation=(0, 0.9))
            * (1 + rng.uniform(0, 0.12) * c.white_noise(rng))[..., None]
        )
        image = c.blend(shadow(image, alpha, rng, 4.0, 0.7), alpha, tone * (1 + shade)[..., None])
        mask = union(mask, alpha)
    return image, mask


def dust(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Powder or dust: very many tiny light or dark specks in a cloud."""
    cloud = c.blob(rng, spot(rng, m), radius(rng, 10, 36), 0.4, softness=rng.uniform(3, 9))
    grain = c.white_noise(rng) if rng.random() < 0.5 else c.band_noise(rng, 0.6)
    specks = np.clip((grain + 1.6 * cloud - rng.uniform(2.0, 2.7)) * 2, 0, 1) * (cloud > 0.05)
    haze = rng.uniform(0, 0.35) * cloud
    tone = (
        c.grey(rng.uniform(0.75, 1.0))
        if mean_colour(m).mean() < 0.6
        else c.colour(rng, (0, 0.4), (0.05, 0.4))
    )
    return c.blend(m.image, np.clip(specks * strength(rng, 0.5) + haze, 0, 1), tone), np.clip(
        (cloud - 0.35) * 4, 0, 1
    )
