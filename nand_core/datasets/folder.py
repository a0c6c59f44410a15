"""MVTec AD's layout: class/train/good, class/test/<type> and maybe masks in class/ground_truth/<type>."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from nand_core.datasets.files import entries, folders, image_names, is_note, listed
from nand_core.datasets.layout import GOOD, Row, joined_masks
from nand_core.errors import NandError

log = logging.getLogger(__name__)


class FolderLayout:
    """A tree named by class and type; masks are ``ground_truth/<type>/<stem>_mask.png`` or ``<stem>.png``.

    An image can have several, ``<stem>_mask_2.png`` and the like: its defect is where any of them says.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        names = folders(root)
        self.classes = [name for name in names if any((root / name / s).is_dir() for s in ("train", "test"))]
        if not self.classes:
            if "train" in names:
                raise NandError(f"{root}: this is one class; set dataset.root to the folder above it")
            raise NandError(
                f"{root}: no classes found; expected {root}/<class>/train/good/<image>.png, or say in dataset.mapping"
                " what lies where (docs/real_parts.md)"
            )
        if others := sorted(set(names) - set(self.classes)):
            log.warning("%s: no classes (neither train nor test in them): %s", root, listed(others))

    def types(self, class_name: str) -> list[str]:
        test = self.root / class_name / "test"
        return [name for name in folders(test) if name != GOOD] if test.is_dir() else []

    def rows(self, class_name: str, ignore: Collection[str]) -> list[Row]:
        self._check_strays(class_name)
        rows = [Row(class_name, GOOD, "train", path) for path in self._images(class_name, "train", GOOD)]
        rows += [Row(class_name, GOOD, "test", path) for path in self._images(class_name, "test", GOOD)]
        for type_ in self.types(class_name):
            if type_ not in ignore:
                rows += self._defects(class_name, type_)
        return rows

    def _check_strays(self, class_name: str) -> None:
        for part, place in (("train", GOOD), ("test", "<type>")):
            folder = self.root / class_name / part
            beside = [e for e in entries(folder) if not is_note(e.name)] if folder.is_dir() else []
            if strays := [e.name for e in beside if not e.is_dir() or (part == "train" and e.name != GOOD)]:
                raise NandError(f"{folder}: unexpected {listed(strays)}; images belong in {folder / place}")

    def _defects(self, class_name: str, type_: str) -> list[Row]:
        paths = self._images(class_name, "test", type_)
        if not paths:
            folder = self.root / class_name / "test" / type_
            raise NandError(f"{folder}: no images; remove it or name {type_!r} in dataset.ignore_types")
        masks = self._images(class_name, "ground_truth", type_)
        by_image = masks_by_image([Path(path).stem for path in paths], masks)
        found = [joined_masks(by_image[Path(path).stem]) for path in paths]
        if unused := sorted(set(masks).difference(*by_image.values())):
            log.warning("%s: masks of no image: %s", self.root, listed(unused))
        truth = self.root / class_name / "ground_truth"
        if truth.is_dir() and "" in found:
            missing = [path for path, mask in zip(paths, found, strict=True) if not mask]
            raise NandError(
                f"{truth / type_}: no <stem>_mask.png for {listed(missing)}; add it, or remove {truth} to go "
                "without masks"
            )
        return [Row(class_name, type_, "test", path, mask) for path, mask in zip(paths, found, strict=True)]

    def _images(self, *parts: str) -> list[str]:
        folder = self.root.joinpath(*parts)
        return ["/".join((*parts, name)) for name in image_names(folder)] if folder.is_dir() else []


def masks_by_image(stems: Sequence[str], masks: Sequence[str]) -> dict[str, list[str]]:
    """Of each image, by its name without extension, the masks that are called after it: ``000_mask_2.png``.

    A letter or digit cannot follow the name, and the longest name has the mask: ``000_1_mask.png`` is that of
    ``000_1`` where there is one, else of ``000``.
    """
    found: dict[str, list[str]] = {stem: [] for stem in stems}
    for mask in masks:
        name = Path(mask).stem
        starts = [name[:end] for end in range(len(name), 0, -1) if not name[end : end + 1].isalnum()]
        if owner := next((start for start in starts if start in found), None):
            found[owner].append(mask)
    return found
