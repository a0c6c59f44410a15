"""VisA as released: split_csv/1cls.csv splits the images, <class>/image_anno.csv names their defects."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from nand_core.datasets.files import listed
from nand_core.datasets.layout import GOOD, Row
from nand_core.errors import NandError

COMBINED = "combined"  # several defects in one image: in no group, as MVTec AD's folder of that name
SPLIT = "split_csv/1cls.csv"


class VisaLayout:
    """A type is the annotated defect in snake case ("chunk of wax missing" -> chunk_of_wax_missing)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        table = _read(root / SPLIT, ("object", "split", "label", "image", "mask"))
        self._split: dict[str, list[dict[str, str]]] = {}
        for line in table:
            self._split.setdefault(line["object"], []).append(line)
        self.classes = sorted(self._split)
        self._rows: dict[str, list[Row]] = {}

    def types(self, class_name: str) -> list[str]:
        return sorted({row.type for row in self._class(class_name)} - {GOOD})

    def rows(self, class_name: str, ignore: Collection[str]) -> list[Row]:
        return [row for row in self._class(class_name) if row.type not in ignore]

    def _class(self, class_name: str) -> list[Row]:
        if class_name not in self._rows:
            self._rows[class_name] = self._read_class(class_name)
        return self._rows[class_name]

    def _read_class(self, class_name: str) -> list[Row]:
        path = self.root / class_name / "image_anno.csv"
        labels = {
            _key(line["image"]): line["label"]
            for line in _read(path, ("image", "label"))
            if line["label"] != "normal"
        }
        rows, unknown = [], []
        for line in self._split[class_name]:
            normal, image = line["label"] == "normal", line["image"]
            if line["split"] not in ("train", "test") or (line["split"] == "train" and not normal):
                raise NandError(
                    f"{self.root / SPLIT}: {image}: {line['label']} in split {line['split']!r}; use 1cls.csv"
                )
            if normal:
                rows.append(Row(class_name, GOOD, line["split"], image))
            elif type_ := _type(labels.get(_key(image), "")):
                rows.append(Row(class_name, type_, "test", image, line["mask"]))
            else:
                unknown.append(image)
        if unknown:
            raise NandError(f"{path}: no defect named for {listed(unknown)}; copy VisA again")
        return rows


def _key(image: str) -> str:
    return PurePosixPath(image).name


def _type(label: str) -> str:
    names = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in label.split(",")} - {""}
    return COMBINED if len(names) > 1 else "".join(names)


def _read(path: Path, columns: Collection[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise NandError(f"{path}: no such file; dataset.kind 'visa' needs VisA as its authors released it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = [
                {key: (value or "").strip() for key, value in line.items() if key}
                for line in csv.DictReader(file)
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise NandError(f"{path}: is no CSV file ({error}); copy VisA again") from error
    if not table or not set(columns) <= set(table[0]):
        raise NandError(f"{path}: needs rows with the columns {', '.join(columns)}; copy VisA again")
    return table
