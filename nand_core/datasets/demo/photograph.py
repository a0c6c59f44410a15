"""One picture of the data set: which it is, how it is drawn, and where the defect shows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nand_core.datasets.demo import damage, foreign, textures
from nand_core.datasets.demo.camera import Camera
from nand_core.datasets.demo.paint import Array, Random, Surface

GOOD = "good"
_ATTEMPTS = 12
_AREA = (0.005, 0.08)
_SPECK = 5

Defect = Callable[[Any, Random], Array]
"""Draws on the surface of its material: a Mesh where it is about wires."""

Materials = Mapping[str, tuple[Callable[[Random, int], Surface], Mapping[str, Defect]]]
"""Class -> how its undamaged surface is drawn, and its defects by type."""

MATERIALS: Materials = MappingProxyType(
    {
        "carpet": (
            textures.carpet,
            {
                "thread": foreign.thread,
                "hole": damage.frayed_hole,
                "color": foreign.color,
                "metal": foreign.metal,
            },
        ),
        "wood": (
            textures.wood,
            {
                "scratch": damage.scratch,
                "hole": damage.bored_hole,
                "liquid": foreign.liquid,
                "color": foreign.color,
            },
        ),
        "leather": (
            textures.leather,
            {"cut": damage.cut, "glue": foreign.glue, "fold": damage.fold, "poke": damage.poke},
        ),
        "tile": (
            textures.tile,
            {
                "crack": damage.crack,
                "glue_strip": foreign.glue_strip,
                "gray_stroke": foreign.gray_stroke,
                "oil": foreign.oil,
            },
        ),
        "grid": (
            textures.grid,
            {"bent": damage.bent, "broken": damage.broken, "thread": foreign.thread, "metal": foreign.metal},
        ),
    }
)


@dataclass(frozen=True)
class Subject:
    """What a picture shows: ``index`` counts within (``class_name``, ``split``, ``defect``)."""

    class_name: str
    split: str
    defect: str
    index: int

    @property
    def image_path(self) -> PurePosixPath:
        """Where MVTec AD keeps the image, from the data set's root."""
        return PurePosixPath(self.class_name, self.split, self.defect, f"{self.index:03d}.png")

    @property
    def mask_path(self) -> PurePosixPath | None:
        """Where MVTec AD keeps the mask; None for a good image."""
        if self.defect == GOOD:
            return None
        return PurePosixPath(self.class_name, "ground_truth", self.defect, f"{self.index:03d}_mask.png")


@dataclass(frozen=True)
class Photograph:
    """``image`` uint8 (n, n, 3); ``undamaged``, the same piece under the same camera without its defect,
    equal to ``image`` outside ``mask``, bool (n, n). For a good image ``mask`` is None."""

    subject: Subject
    image: NDArray[np.uint8]
    undamaged: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None


def draw(subject: Subject, seed: int, size: int, materials: Materials = MATERIALS) -> Photograph:
    """Draw one picture of ``size`` pixels a side. It depends on nothing but the arguments."""
    material, camera_rng, defect_rng = _generators(subject, seed)
    texture, defects = materials[subject.class_name]
    surface = texture(material, 2 * size)
    camera = Camera.draw(camera_rng, size)
    clean = camera.expose(surface.rgb)
    undamaged = camera.develop(clean)
    if subject.defect == GOOD:
        return Photograph(subject, undamaged, undamaged)

    for _ in range(_ATTEMPTS):
        damaged = camera.expose(defects[subject.defect](surface, defect_rng))
        mask = _changed(clean, damaged)
        if _AREA[0] <= mask.mean() <= _AREA[1]:
            break
    image = np.where(mask[..., None], camera.develop(damaged), undamaged)
    return Photograph(subject, image, undamaged, mask)


def _generators(subject: Subject, seed: int) -> list[Random]:
    """Independent generators for the piece, the camera and the defect of one picture."""
    digest = hashlib.sha256(str(subject.image_path).encode()).digest()
    sequence = np.random.SeedSequence([seed, *np.frombuffer(digest, "<u4").tolist()])
    return [np.random.default_rng(child) for child in sequence.spawn(3)]


def _changed(before: Array, after: Array) -> NDArray[np.bool_]:
    """Where a defect shows (n, n): pixels that differ by more than the eye overlooks, without specks."""
    difference = np.abs(after - before).max(axis=-1)
    # the faint outskirts of a strong defect's shadow do not count as defect
    strength = np.percentile(difference[difference > 0.02], 90) if (difference > 0.02).any() else 0.0
    threshold = np.clip(0.12 * strength, 6 / 255, 12 / 255)
    mask = ndimage.binary_closing(np.pad(difference > threshold, 2, mode="edge"))[2:-2, 2:-2]
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    return mask & (sizes[labels] >= _SPECK)
