"""What every defect needs: where to go, how large and how visible to be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material

#: Draws a defect on a material: the changed image (S, S, 3) and the defect's coverage (S, S) in [0, 1].
Defect = Callable[[Rng, Material], tuple[np.ndarray, np.ndarray]]


def spot(rng: Rng, material: Material, margin: float = 6) -> np.ndarray:
    """A random position (x, y) on the material."""
    for _ in range(12):
        x, y = rng.uniform(margin, c.SIZE - margin, 2)
        if material.solid[int(y), int(x)] > 0.5:
            break
    return np.array([x, y])


def radius(rng: Rng, low: float = 3.0, high: float = 24.0) -> float:
    return c.loguniform(rng, low, high)


def mean_colour(material: Material) -> np.ndarray:
    return material.image.reshape(-1, 3).mean(0).astype(np.float32)


def strength(rng: Rng, weakest: float = 0.25) -> float:
    """Opacity: mostly strong, sometimes weak."""
    return float(np.clip(rng.beta(2.5, 1.2), weakest, 1.0))


def rim(alpha: np.ndarray, width: float) -> np.ndarray:
    """The outer rim of a shape, ``width`` pixels wide, in [0, 1]."""
    return np.clip(np.clip(c.blur(alpha, width) * 2.5, 0, 1) - alpha, 0, 1)


def shadow(
    image: np.ndarray, alpha: np.ndarray, rng: Rng, reach: float = 3.0, depth: float = 0.5
) -> np.ndarray:
    """Darken what lies beside a body, on a random side."""
    dx, dy = rng.normal(0, reach / 2, 2)
    cast = np.roll(c.blur(alpha, rng.uniform(0.5, 1.5)), (round(dy), round(dx)), (0, 1))
    return image * (1 - depth * rng.uniform(0, 1) * np.clip(cast - alpha, 0, 1))[..., None]


def union(*masks: np.ndarray) -> np.ndarray:
    return np.maximum.reduce(masks)
