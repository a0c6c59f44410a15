"""Defect types, each drawn in several ways."""

from __future__ import annotations

from nand_core.drawing.defects import bodies, lines, liquids, openings, structure
from nand_core.drawing.defects.common import Defect

DEFECTS: dict[str, Defect] = {
    draw.__name__.rstrip("_"): draw
    for draw in (
        openings.hole,
        openings.poke,
        openings.pore,
        openings.cut,
        openings.crack,
        openings.tear,
        openings.missing,
        openings.chip,
        lines.scratch,
        lines.scuff,
        lines.groove,
        lines.thread,
        lines.stroke,
        lines.print_,
        liquids.stain,
        liquids.glue,
        liquids.glue_strip,
        liquids.liquid,
        liquids.drop,
        liquids.bubble,
        liquids.rust,
        liquids.burn,
        liquids.mold,
        liquids.sticker,
        bodies.metal,
        bodies.foreign,
        bodies.dust,
        structure.dent,
        structure.fold,
        structure.bent,
        structure.broken,
        structure.fray,
        structure.uneven,
        structure.peel,
        structure.misplaced,
    )
}
