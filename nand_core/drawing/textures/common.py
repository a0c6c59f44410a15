"""What every family needs: a direction and colours."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng


def grain_angle(rng: Rng) -> float:
    """Mostly along an axis, sometimes any direction."""
    return float(rng.choice([0.0, np.pi / 2])) + (
        rng.normal(0, 0.04) if rng.random() < 0.7 else rng.uniform(0, np.pi)
    )


def two_tones(
    rng: Rng, contrast: tuple[float, float] = (0.15, 0.6), saturation: tuple[float, float] = (0.0, 0.8)
) -> tuple[np.ndarray, np.ndarray]:
    """A dark and a light colour of about one hue, ``contrast`` apart."""
    light = c.colour(rng, saturation, (0.25, 1.0))
    dark = light * (1 - rng.uniform(*contrast)) * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    return np.clip(dark, 0, 1).astype(np.float32), light
