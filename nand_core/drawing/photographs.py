"""Defects drawn on photographs of good parts: what a class's own defects could look like.

A photograph keeps its detail: a defect is drawn on a reduced window of it, and what the drawing changed is added to the
window. Grey photographs stay grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material
from nand_core.drawing.scenes import PROBABILITY, TYPES, Scene, place

_GOOD, _MOST = 0.08, 3
"""Share of pictures without a defect; most defects in one."""


def painted(photographs: Sequence[Image.Image], side: int, seed: int, index: int) -> Scene:
    """Picture number ``index`` of the set ``seed``: a view of a photograph with up to three defects.

    Args:
        photographs: RGB images of good parts, of any sizes; one of them is taken.
        side: of the picture in pixels, at least 2.

    Returns:
        ``image`` (side, side, 3) and ``labels`` (side, side).
    """
    rng = np.random.default_rng([seed, index])
    photograph = photographs[int(rng.integers(len(photographs)))]
    image = _view(rng, photograph, side)
    grey = bool((image.max(-1) == image.min(-1)).all())
    labels = np.zeros((side, side), np.uint8)
    count = 0 if rng.random() < _GOOD else int(rng.integers(1, _MOST + 1))
    for kind in rng.choice(len(TYPES), count, p=PROBABILITY):
        width = side if rng.random() < 0.4 else int(rng.integers(side // 2, side + 1))
        x, y = rng.integers(0, side - width + 1, 2)
        window = np.s_[y : y + width, x : x + width]
        change, label = defect(rng, image[window], TYPES[kind], grey)
        image[window] = np.clip(image[window] + change, 0, 1)
        labels[window] = np.where(label > 0, label, labels[window])
    if rng.random() < 0.3:
        image = image + c.loguniform(rng, 0.004, 0.02) * rng.standard_normal((side, side, 1), np.float32)
    return Scene((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), labels, "photograph")


def reduced(photograph: Image.Image, side: int) -> Image.Image:
    """The photograph, made smaller where pictures of ``side`` pixels cannot use its detail."""
    factor = 2 * side / min(photograph.size)
    if factor >= 1:
        return photograph
    size = (max(1, round(photograph.width * factor)), max(1, round(photograph.height * factor)))
    return photograph.resize(size, Image.Resampling.BICUBIC)


def _view(rng: Rng, photograph: Image.Image, side: int) -> np.ndarray:
    """The whole or most of it, turned over, in another light: (side, side, 3) in [0, 1]."""
    width, height = photograph.size
    box = (0.0, 0.0, float(width), float(height))
    if rng.random() < 0.6:
        w, h = width * rng.uniform(0.6, 1), height * rng.uniform(0.6, 1)
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        box = (x, y, x + w, y + h)
    image = np.asarray(photograph.resize((side, side), Image.Resampling.BICUBIC, box=box), np.float32) / 255
    for axis in (0, 1):
        if rng.random() < 0.5:
            image = np.flip(image, axis)
    if rng.random() < 0.25:
        image = image.transpose(1, 0, 2)
    return np.clip(image ** c.loguniform(rng, 0.8, 1.25) * rng.uniform(0.85, 1.18), 0, 1).astype(np.float32)


def defect(rng: Rng, window: np.ndarray, name: str, grey: bool) -> tuple[np.ndarray, np.ndarray]:
    """What a defect adds to a square window (w, w, 3), and its labels (w, w): those of a defect too faint are 0."""
    size = (len(window), len(window))
    small = _resized(window, (c.SIZE, c.SIZE))
    material = Material(small, angle=float(rng.uniform(0, np.pi)), textile=bool(rng.random() < 0.2))
    drawn, label = place(rng, material, name, np.zeros((c.SIZE, c.SIZE), np.uint8))
    change = (drawn.image - small) * rng.uniform(0.5, 1.1)
    if (sigma := rng.uniform(-0.5, 1.2)) > 0.3:  # a lens
        change = c.blur(change, sigma)
    if grey:
        change = np.repeat(change.mean(-1, keepdims=True), 3, -1)
    nearest = Image.fromarray(label).resize(size, Image.Resampling.NEAREST)
    return _resized(change, size), np.asarray(nearest)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) in another size."""
    return np.stack([c.resize(image[..., channel], size) for channel in range(3)], axis=-1)
