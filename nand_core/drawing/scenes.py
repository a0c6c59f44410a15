"""Generated inspection images: a material, its light, normal distractors, defects, a camera.

``scene(seed, index)`` is a pure function: the same pair gives the same image on every machine of one numpy
version, so a data set is a seed and a range of indices.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from nand_core.drawing import canvas as c
from nand_core.drawing import textures
from nand_core.drawing.canvas import Rng
from nand_core.drawing.defects import DEFECTS
from nand_core.drawing.materials import Material

TYPES: tuple[str, ...] = tuple(DEFECTS)
#: How often a type is drawn, relative to 1, and as a probability of ``TYPES``.
FREQUENCY = {
    **dict.fromkeys(("thread", "stain", "liquid", "bent", "broken", "hole", "metal"), 4.0),
    **dict.fromkeys(("scratch", "crack", "cut", "glue", "glue_strip", "stroke", "poke", "fold"), 3.5),
    **dict.fromkeys(("pore", "chip", "fray", "uneven"), 2.5),
    **dict.fromkeys(("mold", "sticker", "misplaced", "tear", "peel"), 0.5),
}
PROBABILITY = np.array([FREQUENCY.get(t, 1.0) for t in TYPES])
PROBABILITY = PROBABILITY / PROBABILITY.sum()
#: Families on which a type is mostly drawn, because it needs strands, edges or a plain surface to be seen.
PREFERRED = {
    "bent": ("mesh", "mesh", "honeycomb", "weave", "ribbed", "brick", "perforated"),
    "broken": ("mesh", "mesh", "honeycomb", "weave", "ribbed", "carpet"),
    "pore": ("cast", "cast", "brushed", "plain", "concrete"),
    "fray": ("cast", "cast", "carpet", "weave", "leather"),
    "uneven": ("cast", "cast", "brushed", "plain"),
    "chip": ("cast", "cast", "stone", "brick", "plain", "wood"),
}
#: A defect must change the image by this much on average over its mask, and cover this many pixels, or it is
#: drawn again: for the easiest and the hardest images.
_LEAST_CHANGE = (0.14, 0.03)
_LEAST_AREA = (120, 6)
#: Families without much of a pattern: most of the easiest images.
_CALM = ("plain", "paper", "brushed", "stone", "cast", "leather", "wood")


@dataclass(frozen=True)
class Scene:
    """``image`` uint8 (S, S, 3); ``labels`` uint8 (S, S): 0 normal, k for ``TYPES[k - 1]``."""

    image: np.ndarray
    labels: np.ndarray
    texture: str


def _material(rng: Rng, names: tuple[str, ...]) -> tuple[str, Material]:
    weights = np.array([textures.WEIGHTS.get(n, 1.0) for n in names])
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    return name, {**textures.TEXTURES, **textures.HELD_OUT}[name](rng)


def _silhouette(rng: Rng) -> np.ndarray:
    """The shape of one or several objects, coverage (S, S)."""
    centre = np.array([64.0, 64.0]) + rng.normal(0, 6, 2)
    kind = rng.integers(5)
    r = rng.uniform(34, 58)
    if kind == 0:
        return np.clip((1 - c.ellipse(centre, (r, r * rng.uniform(0.5, 1.0)), rng.uniform(0, 3))) * r, 0, 1)
    if kind == 1:
        ring = c.ellipse(centre, (r, r))
        return np.clip((1 - ring) * r, 0, 1) * np.clip((ring - rng.uniform(0.25, 0.5)) * r, 0, 1)
    if kind == 2:
        t = np.linspace(0, 2 * np.pi, int(rng.integers(4, 9)), endpoint=False) + rng.uniform(0, 1)
        return c.polygon(centre + r * np.stack([np.cos(t), np.sin(t) * rng.uniform(0.6, 1)], 1))
    if kind == 3:
        u, v = c.directions(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1))
        inside = np.maximum(np.abs(u) / r, np.abs(v) / (r * rng.uniform(0.35, 1.0)))
        return np.clip((1 - inside) * r, 0, 1)
    return c.blob(rng, centre, r * 0.9, 0.15)


def _object(rng: Rng, material: Material, names: tuple[str, ...]) -> Material:
    """Cut a material to the shape of an object in front of a plain or textured ground."""
    shape = _silhouette(rng)
    ground = textures.TEXTURES["plain"](rng) if rng.random() < 0.7 else _material(rng, names)[1]
    behind = np.clip(ground.image, 0, 1) * rng.uniform(0.1, 1.0)
    height = np.sqrt(np.clip(c.blur(shape, rng.uniform(1.5, 7)), 0, 1))
    light = c.relief(height, rng.uniform(0, 6.3), rng.uniform(0, 3.0))
    image = c.blend(behind, shape, material.image * (1 + np.clip(light, -0.7, 0.7))[..., None])
    return replace(material, image=image, behind=behind, solid=material.solid * shape)


def _distract(rng: Rng, m: Material) -> Material:
    """Normal sights that resemble defects: seams, edges, stitches, mottling, tool marks, shadows."""
    image, kind = m.image, rng.integers(6)
    if kind == 0:  # a seam: a straight line across the whole image
        u, v = c.directions(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.03))
        line = np.clip(rng.uniform(0.5, 2) - np.abs(v - rng.uniform(-50, 50)), 0, 1)
        image = image * (1 + rng.choice([-1, 1]) * rng.uniform(0.1, 0.5) * line)[..., None]
    elif kind == 1:  # the edge of the part: a dark or light border along the frame
        side = (c.XX, c.SIZE - 1 - c.XX, c.YY, c.SIZE - 1 - c.YY)[rng.integers(4)]
        border = np.clip(rng.uniform(3, 14) - side + rng.uniform(0, 1.5) * c.smooth_noise(rng, 30), 0, 1)
        image = c.blend(image, border, c.grey(rng.uniform(0, 0.9)))
        return replace(m, image=image, solid=m.solid * (1 - border))
    elif kind == 2:  # soft shadow of something outside the picture
        image = image * (1 - rng.uniform(0.1, 0.4) * np.clip(c.smooth_noise(rng, 60), 0, 1))[..., None]
    elif kind == 3:  # regular stitches or dots along a line
        u, v = c.directions(m.angle)
        dots = np.clip(1.5 - np.hypot((u % 12) - 6, v - rng.uniform(-45, 45)), 0, 1)
        image = c.blend(image, dots * 0.7, c.colour(rng))
    elif kind == 4:  # mottling
        image = image * (1 + rng.uniform(0.02, 0.12) * c.fractal_noise(rng, rng.uniform(8, 40)))[..., None]
    else:  # faint tool marks
        lines = c.turn(c.blur(c.white_noise(rng), (0.4, rng.uniform(10, 40))), m.angle)
        image = image * (1 + rng.uniform(0.01, 0.07) * c.standardise(lines))[..., None]
    return replace(m, image=image)


def _between(ends: tuple[float, float], difficulty: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * difficulty


def place(
    rng: Rng, m: Material, name: str, labels: np.ndarray, difficulty: float = 1.0
) -> tuple[Material, np.ndarray]:
    """Draw one defect; drawings that can hardly be seen are drawn again, then dropped."""
    for _ in range(3):
        image, mask = DEFECTS[name](rng, m)
        image = np.clip(image, 0, 1)
        if not m.open and name not in ("thread", "metal", "foreign", "chip"):
            image, mask = c.blend(m.image, m.solid, image), mask * m.solid
        area = mask > 0.35
        change = np.abs(image - m.image)[area].mean() if area.any() else 0.0
        if area.sum() >= _between(_LEAST_AREA, difficulty) and change > _between(_LEAST_CHANGE, difficulty):
            labels = np.where(area, np.uint8(TYPES.index(name) + 1), labels)
            return replace(m, image=image), labels
    return m, labels


def _light(rng: Rng, image: np.ndarray) -> np.ndarray:
    x, y = c.directions(rng.uniform(0, 6.3))
    image = image * (1 + rng.uniform(0, 0.35) * x / 64)[..., None]
    if rng.random() < 0.25:
        image = image * (1 - rng.uniform(0.1, 0.6) * (np.hypot(x, y) / 90) ** 2)[..., None]
    if rng.random() < 0.2:
        glow = np.exp(-(c.ellipse(rng.uniform(0, 127, 2), (rng.uniform(20, 60), rng.uniform(20, 60))) ** 2))
        image = image + rng.uniform(0.05, 0.25) * glow[..., None]
    image = np.clip(image, 0, 1) ** c.loguniform(rng, 0.65, 1.6)
    return image * rng.uniform(0.65, 1.3) * (1 + rng.normal(0, 0.05, 3))


def _camera(rng: Rng, image: np.ndarray, difficulty: float) -> np.ndarray:
    """Grey-scale, blur, noise, 8 bits, JPEG."""
    if rng.random() < 0.3 * difficulty:
        image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.4 * difficulty:
        image = c.blur(image, rng.uniform(0.3, 1.0))
    if rng.random() < 0.6 * difficulty:
        sigma = c.loguniform(rng, 0.004, 0.05)
        noise = (
            c.white_noise(rng)[..., None]
            if rng.random() < 0.4
            else rng.standard_normal(image.shape, np.float32)
        )
        image = image + sigma * noise
    image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.25 * difficulty:
        memory = io.BytesIO()
        Image.fromarray(image).save(memory, "JPEG", quality=int(rng.integers(45, 96)))
        image = np.asarray(Image.open(memory))
    return image


def scene(
    seed: int,
    index: int,
    types: tuple[str, ...] | None = None,
    names: tuple[str, ...] | None = None,
    normal: float = 0.15,
    difficulty: float = 1.0,
) -> Scene:
    """Image number ``index`` of the data set ``seed``.

    Args:
        types: the defects to draw, in turn; None: a random choice.
        names: the texture families to choose from; None: all that are not held out.
        normal: the share of images without a defect when ``types`` is None.
        difficulty: below 1, patterns are calmer, defects larger and clearer, pictures cleaner. A tower that
            starts on hard images learns nothing for a long time.
    """
    rng = np.random.default_rng([seed, index])
    if types is None:
        count = 0 if rng.random() < normal else 1 + rng.binomial(3, 0.25)
        types = tuple(TYPES[k] for k in rng.choice(len(TYPES), count, p=PROBABILITY))
    if names is None:
        names = _CALM if rng.random() > 0.3 + 0.7 * difficulty else tuple(textures.TEXTURES)
        if types and types[0] in PREFERRED and rng.random() < 0.6:
            names = PREFERRED[types[0]]
    name, material = _material(rng, names)
    material = replace(material, image=np.clip(material.image, 0, 1).astype(np.float32))
    if not material.open:
        middle = material.image.mean((0, 1))
        material = replace(material, image=middle + (material.image - middle) * (0.3 + 0.7 * difficulty))
    if not material.open and rng.random() < 0.2 * difficulty:
        material = _object(rng, material, names)
    for _ in range(rng.integers(0, 3)):
        if rng.random() < difficulty:
            material = _distract(rng, material)
    material = replace(material, image=np.clip(material.image, 0, 1).astype(np.float32))
    labels = np.zeros((c.SIZE, c.SIZE), np.uint8)
    for defect in types:
        material, labels = place(rng, material, defect, labels, difficulty)
    image = material.image
    if rng.random() < difficulty:
        image = _light(rng, image)
    return Scene(_camera(rng, image, difficulty), labels, name)
