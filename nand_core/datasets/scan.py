"""The data set's files by name: which image is of which class, type, group and split. Opens no image."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from nand_core.datasets import mvtec_ad, visa
from nand_core.datasets.files import check_clashes, check_inside, check_name, listed
from nand_core.datasets.folder import FolderLayout
from nand_core.datasets.groups import Groups, group_of_type
from nand_core.datasets.layout import GOOD, Layout, Row, mask_paths
from nand_core.datasets.mapped import MappedLayout
from nand_core.datasets.parts import check_parts, named_parts
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError, nearest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class Image(NamedTuple):
    """An image of the data set; ``group`` is "" for good images and for types in no group, ``part`` without
    ``dataset.part``; else as ``Row``.
    """

    class_name: str
    type: str
    group: str
    split: str
    path: str
    mask: str
    part: str = ""


def scan(settings: DatasetSettings, root: Path) -> pd.DataFrame:
    """The manifest's columns class, type, group, split, path and mask: one row an image, as :func:`scan_images`.

    With ``dataset.part`` a column ``part`` too.
    """
    return table(scan_images(settings, root))


def table(images: Iterable[Image]) -> pd.DataFrame:
    """One row an image."""
    import pandas as pd

    frame = pd.DataFrame(list(images), columns=["class", *Image._fields[1:]])
    return frame if frame["part"].any() else frame.drop(columns="part")


def scan_images(settings: DatasetSettings, root: Path) -> list[Image]:
    """The images, sorted by class, split, type and path; loads no pandas.

    ``root`` is the data root (``settings.root`` is not read here). Raises NandError for everything wrong with the tree
    or the settings that can be seen without opening an image.
    """
    root = Path(root)
    if not root.is_dir():
        raise NandError(f"{root}: no such folder; set dataset.root to the folder of the data set")
    layout = _layout(settings, root)
    classes = _classes(settings, layout, root)
    ignored = _ignored(settings, layout, classes)
    rows = [row for name in classes for row in _class_rows(layout, name, ignored, root)]
    if settings.kind == "mvtec_ad" and settings.check_counts:
        mvtec_ad.check_official(rows, settings.classes or mvtec_ad.CLASSES, ignored)
    _check_paths(rows, root)
    groups = _groups(settings, rows, ignored)
    parts = _parts(settings, rows)

    def image(row: Row) -> Image:
        group = groups[row.class_name].get(row.type, "")
        return Image(row.class_name, row.type, group, row.split, row.path, row.mask, parts.get(row.path, ""))

    found = [image(row) for row in rows]
    return sorted(found, key=lambda image: (image.class_name, image.split, image.type, image.path))


def _layout(settings: DatasetSettings, root: Path) -> Layout:
    if settings.mapping is not None:
        return MappedLayout(root, settings.mapping, settings.part)
    return visa.VisaLayout(root) if settings.kind == "visa" else FolderLayout(root)


def _classes(settings: DatasetSettings, layout: Layout, root: Path) -> list[str]:
    for section, names in (("classes", settings.classes), ("groups", settings.groups)):
        for name in names:
            if name not in layout.classes:
                hint = nearest(name, layout.classes)
                raise NandError(f"dataset.{section}: no class {name!r} in {root}{hint}")
    if settings.classes:
        return sorted(set(settings.classes))
    if settings.kind == "mvtec_ad" and mvtec_ad.LEFT_OUT in layout.classes:
        log.info("class %s is left out: it has a single anomaly type", mvtec_ad.LEFT_OUT)
        return [name for name in layout.classes if name != mvtec_ad.LEFT_OUT]
    return layout.classes


def _ignored(settings: DatasetSettings, layout: Layout, classes: Sequence[str]) -> set[str]:
    types = {name: set(layout.types(name)) for name in classes}
    for name in sorted(set(settings.ignore_types).difference(*types.values())):
        known = {type_ for class_name in layout.classes for type_ in layout.types(class_name)}
        if name not in known:
            raise NandError(f"dataset.ignore_types: no anomaly type {name!r}{nearest(name, known)}")
    ignored = set(settings.ignore_types) | ({mvtec_ad.COMBINED} if settings.kind == "mvtec_ad" else set())
    for name in sorted(ignored):
        if where := [class_name for class_name in classes if name in types[class_name]]:
            log.info("anomaly type %s is left out of %s", name, ", ".join(where))
    return ignored


def _class_rows(layout: Layout, name: str, ignored: set[str], root: Path) -> list[Row]:
    check_name("class", name)
    rows = layout.rows(name, ignored)
    there = {(row.split, row.type == GOOD) for row in rows}
    for part, what in {
        ("train", True): "good images to fit on (MVTec AD's layout: <class>/train/good)",
        ("test", True): "good images to test on (MVTec AD's layout: <class>/test/good)",
        ("test", False): "anomaly type to test on (MVTec AD's layout: <class>/test/<type>)",
    }.items():
        if part not in there:
            raise NandError(
                f"{root}: class {name!r} has no {what}; add one, or name the other classes in dataset.classes"
            )
    for type_ in sorted({row.type for row in rows}):
        check_name("anomaly type", type_)
    return rows


def _check_paths(rows: Iterable[Row], root: Path) -> None:
    paths = [row.path for row in rows]
    masks = [mask for row in rows for mask in mask_paths(row.mask)]
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise NandError(f"{root}: in more than one class, type or split: {listed(twice)}; keep each in one")
    if both := sorted(set(paths) & set(masks)):
        raise NandError(f"{root}: both an image and a mask: {listed(both)}; narrow the patterns")
    check_clashes(paths, str(root), lambda path: str(PurePosixPath(path).with_suffix("")))
    check_inside(root, paths + masks)


def _parts(settings: DatasetSettings, rows: Sequence[Row]) -> dict[str, str]:
    if settings.part is None:
        return {}
    classes: dict[str, list[Row]] = {}
    for row in rows:
        classes.setdefault(row.class_name, []).append(row)
    parts: dict[str, str] = {}
    for own in classes.values():
        found = named_parts([row.path for row in own], settings.part)
        check_parts(own, found)
        parts |= found
    return parts


def _groups(settings: DatasetSettings, rows: Iterable[Row], ignored: set[str]) -> dict[str, dict[str, str]]:
    given: dict[str, Groups] = {**(mvtec_ad.paper_groups() if settings.kind == "mvtec_ad" else {})}
    given.update(settings.groups)
    types: dict[str, set[str]] = {}
    for row in rows:
        types.setdefault(row.class_name, set()).update({row.type} - {GOOD})
    mixed = {visa.COMBINED} if settings.kind == "visa" else set()
    return {
        name: group_of_type(name, found, given.get(name) or {t: [t] for t in sorted(found - mixed)}, ignored)
        for name, found in types.items()
    }
