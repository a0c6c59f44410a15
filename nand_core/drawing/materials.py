"""A material: what an image shows before anything is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nand_core.drawing.canvas import SIZE


@dataclass(frozen=True)
class Material:
    """``image`` and what lies ``behind`` it (S, S, 3) in [0, 1]; ``solid`` (S, S) is 1 where the material is.

    ``angle`` is the direction of the grain, strands or brush marks (radians), ``pitch`` the distance between
    strands or joints in pixels (0: none).
    """

    image: np.ndarray
    behind: np.ndarray = field(default_factory=lambda: np.full((SIZE, SIZE, 3), 0.05, np.float32))
    solid: np.ndarray = field(default_factory=lambda: np.ones((SIZE, SIZE), np.float32))
    angle: float = 0.0
    pitch: float = 0.0
    open: bool = False  # a mesh: the background shows through between the strands
    textile: bool = False
