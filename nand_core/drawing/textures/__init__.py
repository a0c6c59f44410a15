"""Texture families: each draws a defect-free material from a random generator."""

from __future__ import annotations

from collections.abc import Callable

from nand_core.drawing.canvas import Rng
from nand_core.drawing.materials import Material
from nand_core.drawing.textures import mineral, organic, regular, woven

Texture = Callable[[Rng], Material]

TEXTURES: dict[str, Texture] = {
    t.__name__: t
    for t in (
        woven.weave,
        woven.carpet,
        woven.mesh,
        woven.honeycomb,
        regular.perforated,
        organic.wood,
        organic.leather,
        mineral.stone,
        mineral.marble,
        mineral.brick,
        mineral.brushed,
        mineral.cast,
        organic.foam,
        organic.paper,
        organic.plain,
        mineral.concrete,
        organic.ribbed,
        regular.printed,
        woven.fur,
    )
}
HELD_OUT: dict[str, Texture] = {t.__name__: t for t in (woven.knit, mineral.cobble, woven.corduroy)}
WEIGHTS: dict[str, float] = {
    "carpet": 2.5,
    "mesh": 2.5,
    "wood": 2.5,
    "leather": 2.5,
    "stone": 2.5,
    "cast": 3.0,
    "weave": 1.5,
    "brushed": 1.3,
    "concrete": 1.3,
    "perforated": 0.6,
    "printed": 0.7,
}
