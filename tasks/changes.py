"""The pictures of the images that changed sides, of one class and detector."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from nand_core.artifacts.store import Record
from nand_core.decision import Claimed
from nand_core.report.strips import draw_strips, write_archive
from nand_core.settings import Rule
from tasks.cache import Bits, Spec, item
from tasks.images import read_content
from tasks.work import Work


class StripsSpec(Spec):
    """What the pictures show, by content: paths and sha256 of the images in order, and what is claimed to be normal.

    ``rule`` is the one that the scores were computed with, ``panel`` and ``quality`` are those of ``report``.
    """

    unkeyed: ClassVar = frozenset({"files"})

    images: tuple[tuple[str, str], ...]
    base: str
    claims: tuple[Claimed, ...]
    files: dict[str, Path]
    rule: Rule
    panel: int
    quality: int
    bits: Bits = None


@item
def strips(spec: StripsSpec, work: Work) -> Record:
    """A zip of WebP files (``nand_core.report.strips``): one record, however many images there are."""
    drawn = draw_strips(
        {path: partial(read_content, work, path, sha256, spec.bits) for path, sha256 in spec.images},
        spec.base,
        spec.claims,
        spec.files,
        spec.rule,
        longest=spec.panel,
        quality=spec.quality,
    )
    with work.store.writing("zip") as put:
        write_archive(put.path, drawn)
    return put.record
