"""A miniature of MVTec AD: its folders by their real names, with a few drawn images in each."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from nand_core.datasets.demo.photograph import GOOD, MATERIALS, Subject, draw
from nand_core.datasets.mvtec_ad import OFFICIAL

SIZE = 96
TRAIN = 5  # as many as WinCLIP takes references
TEST = 3
PER_TYPE = 2
GREY = frozenset({"grid", "screw", "zipper"})
"""The classes whose images MVTec AD has in grey."""


def draw_miniature(root: Path) -> None:
    """All 15 classes with all their anomaly types and masks, in MVTec AD's layout."""
    for name, (_, _, types) in OFFICIAL.items():
        counts = {("train", GOOD): TRAIN, ("test", GOOD): TEST, **{("test", type_): PER_TYPE for type_ in types}}
        for (split, type_), count in counts.items():
            for index in range(count):
                _draw(root / name, split, type_, index)


def _draw(folder: Path, split: str, type_: str, index: int) -> None:
    """One image, of the material and with the defect that the demo has under this name, or any other."""
    material = folder.name if folder.name in MATERIALS else _any(list(MATERIALS), folder.name)
    defects = MATERIALS[material][1]
    defect = type_ if type_ == GOOD or type_ in defects else _any(list(defects), type_)
    seed = crc32(f"{folder.name}/{type_}".encode())
    photograph = draw(Subject(material, split, defect, index), seed, SIZE)
    picture = Image.fromarray(photograph.image)
    _save(picture.convert("L") if folder.name in GREY else picture, folder / split / type_ / f"{index:03d}.png")
    if photograph.mask is not None:
        mask = Image.fromarray(photograph.mask.astype(np.uint8) * np.uint8(255))
        _save(mask, folder / "ground_truth" / type_ / f"{index:03d}_mask.png")


def _any(names: list[str], name: str) -> str:
    return names[crc32(name.encode()) % len(names)]


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
