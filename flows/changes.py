"""Pictures of the images that change sides: which those are, their files, and the page beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from flows.run import Run
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import Record
from nand_core.report.changes import FOLDER, Changed, changed, folder_of
from nand_core.report.strips import keep_only, unpack
from tasks.changes import StripsSpec, strips
from tasks.normalities import EffectSpec


def changed_images(run: Run, effect: pd.DataFrame) -> list[Changed]:
    """Those of ``effect`` (columns of ``results/normalities.parquet``) that a page shows, in its order."""
    manifest = run.manifest
    sizes = zip(manifest["width"].tolist(), manifest["height"].tolist(), strict=True)
    return changed(effect, dict(zip(manifest["path"], sizes, strict=True)), run.params.report.panel)


def draw(
    run: Run, images: Sequence[Changed], judged: Mapping[tuple[str, str], EffectSpec]
) -> dict[tuple[str, str], Record]:
    """The archive of pictures of every class and detector that has any of ``images``.

    ``judged`` is what gave their scores (``flows.evaluate.effect_specs``): the same maps and the same rule.
    """
    shown: dict[tuple[str, str], list[str]] = {}
    for one in images:
        shown.setdefault((one.class_name, one.detector), []).append(one.id)
    manifest = run.manifest
    sha256 = dict(zip(manifest["path"], manifest["sha256"], strict=True))
    specs = {
        where: StripsSpec(
            images=tuple((path, sha256[path]) for path in sorted(shown[where])),
            base=judged[where].base,
            claims=judged[where].claims,
            files=judged[where].files,
            rule=judged[where].rule,
            panel=run.params.report.panel,
            quality=run.params.report.quality,
            bits=run.bits,
        )
        for where in sorted(shown)
    }
    return run.items(strips, specs, stage="report") if specs else {}


def write_page(
    run: Run, page: Path, html: str, archives: Mapping[tuple[str, str], Record], class_name: str | None = None
) -> set[Path]:
    """Write a page and, beside it, the pictures of ``archives``; every other picture there is removed.

    With a class named, of its folder alone. At no time does the page lie there without a picture that it shows:
    first come the new pictures, each whole or not at all, then the page, and what is stale goes last. To be called
    alone among the runs of this checkout (``Run.writing``).

    Returns:
        The pictures.
    """
    folder = page.parent / FOLDER
    paths = {folder_of(*where): run.work.store.path(record) for where, record in archives.items()}
    written = unpack(paths, folder)
    with replacing(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    keep_only(folder if class_name is None else folder / class_name, written)
    return written
