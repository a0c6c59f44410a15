"""Pictures of the images that change sides: which those are, their files, and the page beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from flows.evaluate import decision_rules
from flows.run import ARTIFACTS, Run
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import Record
from nand_core.report.changes import FOLDER, Changed, changed, folder_of
from nand_core.report.strips import keep_only, unpack
from nand_core.settings import Rule
from tasks.changes import StripsSpec, strips


def changed_images(run: Run, effect: pd.DataFrame) -> list[Changed]:
    """Those of ``effect`` (columns of ``results/normalities.parquet``) that a page shows, in its order."""
    manifest = run.manifest
    sizes = zip(manifest["width"].tolist(), manifest["height"].tolist(), strict=True)
    return changed(effect, dict(zip(manifest["path"], sizes, strict=True)), run.params.report.panel)


def draw(
    run: Run, images: Sequence[Changed], suppressions: Mapping[str, Sequence[Path]], digest: Callable[[Path], str]
) -> dict[tuple[str, str], Record]:
    """The archive of pictures of every class and detector that has any of ``images``.

    Args:
        suppressions: of each class, the files of maps that all together gave the scores after.
        digest: the sha256 of a file's bytes.
    """
    shown: dict[tuple[str, str], list[str]] = {}
    for one in images:
        shown.setdefault((one.class_name, one.detector), []).append(one.id)
    rules: dict[tuple[str, str], Rule] = {}
    for name in sorted({name for name, _ in shown}):
        rules |= decision_rules(run, digest, name)
    manifest, specs = run.manifest, {}
    sha256 = dict(zip(manifest["path"], manifest["sha256"], strict=True))
    for name, detector in sorted(shown):
        base = ARTIFACTS / "base_maps" / detector / f"{name}.npz"
        # In the order of their content, as the scores are computed: which was added first has no effect.
        paths = sorted(suppressions[name], key=digest)
        specs[name, detector] = StripsSpec(
            images=tuple((path, sha256[path]) for path in sorted(shown[name, detector])),
            base=digest(base),
            base_path=base,
            suppressions=tuple(map(digest, paths)),
            suppression_paths=tuple(paths),
            rule=rules[detector, name],
            panel=run.params.report.panel,
            quality=run.params.report.quality,
        )
    return run.items(strips, specs) if specs else {}


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
