"""Surfaces with a regular pattern of holes or prints that belong there."""

from __future__ import annotations

import numpy as np

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material
from nand_core.drawing.textures.common import grain_angle
from nand_core.drawing.textures.mineral import brushed, stone
from nand_core.drawing.textures.organic import paper, plain
from nand_core.drawing.textures.woven import backdrop, weave


def perforated(rng: Rng) -> Material:
    """Sheet with regular holes: holes that belong."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 8, 24)
    u, v = c.directions(angle)
    shift = (np.floor(v / pitch) % 2) * pitch / 2 if rng.random() < 0.5 else 0
    distance = np.hypot((u + shift) % pitch - pitch / 2, v % pitch - pitch / 2)
    solid = np.clip(distance - pitch * rng.uniform(0.15, 0.35) + 0.5, 0, 1)
    behind = backdrop(rng) * rng.uniform(0.1, 1.0)
    sheet = brushed(rng) if rng.random() < 0.5 else plain(rng)
    return Material(c.blend(behind, solid, sheet.image), behind, solid, angle, pitch, open=True)


def printed(rng: Rng) -> Material:
    """A regular printed pattern of dots, checks or crosses: prints that belong."""
    angle, pitch = grain_angle(rng), c.loguniform(rng, 7, 26)
    ground = (paper, plain, weave, stone)[rng.integers(4)](rng)
    u, v = c.directions(angle)
    i, j = u % pitch - pitch / 2, v % pitch - pitch / 2
    kind = rng.integers(4)
    if kind == 0:
        alpha = np.clip(pitch * rng.uniform(0.15, 0.4) - np.hypot(i, j) + 0.5, 0, 1)
    elif kind == 1:
        alpha = ((np.floor(u / pitch) + np.floor(v / pitch)) % 2).astype(np.float32)
    elif kind == 2:
        alpha = np.clip(pitch * 0.12 - np.minimum(np.abs(i), np.abs(j)) + 0.5, 0, 1) * (
            np.hypot(i, j) < pitch * 0.35
        )
    else:
        alpha = np.clip(1.2 - np.abs(np.hypot(i, j) - pitch * 0.3), 0, 1)
    image = c.blend(ground.image, alpha * rng.uniform(0.2, 0.9), c.colour(rng))
    return Material(image, ground.behind + 0 * image, angle=angle, pitch=pitch)
