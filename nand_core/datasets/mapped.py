"""Trees of another layout, described by one set of globs for each class (``dataset.mapping``)."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath

from nand_core.datasets.files import is_note, listed
from nand_core.datasets.layout import EXTENSIONS, GOOD, Row
from nand_core.datasets.parts import named_parts
from nand_core.datasets.settings import ClassMapping, GivenSplit, PartSettings, SeededSplit, TypeMapping
from nand_core.errors import NandError


class MappedLayout:
    """``dataset.mapping`` over a tree."""

    def __init__(self, root: Path, mapping: Mapping[str, ClassMapping], part: PartSettings | None = None) -> None:
        self.root = root
        self.part = part
        self.mapping = mapping
        self.classes = sorted(mapping)
        if not self.classes:
            raise NandError("dataset.mapping names no class; add one, or remove it for MVTec AD's layout")

    def types(self, class_name: str) -> list[str]:
        return sorted(self.mapping[class_name].types)

    def rows(self, class_name: str, ignore: Collection[str]) -> list[Row]:
        entry = self.mapping[class_name]
        if GOOD in entry.types:
            raise NandError(f"dataset.mapping.{class_name}.types: 'good' is no anomaly type; rename it")
        types = {
            type_: self._glob(where.images, f"{class_name}.types.{type_}.images")
            for type_, where in sorted(entry.types.items())
            if type_ not in ignore
        }
        train, test = self._good(class_name, entry.good, [path for images in types.values() for path in images])
        rows = [Row(class_name, GOOD, "train", path) for path in train]
        rows += [Row(class_name, GOOD, "test", path) for path in test]
        for type_, images in types.items():
            rows += [Row(class_name, type_, "test", path, _mask(path, entry.types[type_])) for path in images]
        return rows

    def _good(
        self, class_name: str, good: SeededSplit | GivenSplit, abnormal: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        key = f"{class_name}.good"
        if isinstance(good, GivenSplit):
            return self._glob(good.train, f"{key}.train"), self._glob(good.test, f"{key}.test")
        images = self._glob(good.images, f"{key}.images")
        if good.train >= len(images):
            raise NandError(
                f"dataset.mapping.{key}: {good.train} of {len(images)} images leave none to test; lower it"
            )
        if self.part is None:
            train = chosen(images, good.train, good.seed)
        else:
            parts = named_parts([*images, *abnormal], self.part)
            train = _whole_parts(images, parts, {parts[path] for path in abnormal}, good)
            if not train:
                raise NandError(f"dataset.mapping.{key}: no part without a defect has {good.train} images or fewer")
        return sorted(train), sorted(set(images) - train)

    def _glob(self, pattern: str, key: str) -> list[str]:
        try:
            found = [path for path in self.root.glob(pattern) if not path.is_dir() and not is_note(path.name)]
        except ValueError as error:
            raise NandError(
                f"dataset.mapping.{key}: {pattern!r} is no pattern ({error}); correct it"
            ) from error
        paths = sorted(path.relative_to(self.root).as_posix() for path in found)
        if not paths:
            raise NandError(
                f"dataset.mapping.{key}: no file matches {pattern!r} below {self.root}; correct it"
            )
        if strange := [path for path in paths if PurePosixPath(path).suffix.lower() not in EXTENSIONS]:
            known = ", ".join(sorted(EXTENSIONS))
            raise NandError(
                f"dataset.mapping.{key}: not an image file ({known}): {listed(strange)}; narrow {pattern!r}"
            )
        return paths


def chosen(paths: Iterable[str], count: int, seed: int) -> set[str]:
    """``count`` of ``paths``, drawn by lot: a path that comes or goes changes that for at most one other."""
    return set(by_lot(paths, seed)[:count])


def by_lot(names: Iterable[str], seed: int) -> list[str]:
    """In the order of their lots: a hash of seed and name, so it depends on no other name and no random generator."""
    return sorted(names, key=lambda name: sha256(f"{seed}:{name}".encode(errors="replace")).digest())


def _whole_parts(
    images: Iterable[str], parts: Mapping[str, str], defective: Collection[str], good: SeededSplit
) -> set[str]:
    """The images of whole parts, by lot, as many as fit into ``good.train``."""
    members: dict[str, set[str]] = {}
    for path in images:
        members.setdefault(parts[path], set()).add(path)
    members = {part: own for part, own in members.items() if part not in defective}
    train: set[str] = set()
    for part in by_lot(members, good.seed):
        if len(train) + len(members[part]) <= good.train:
            train |= members[part]
    return train


def _mask(path: str, where: TypeMapping) -> str:
    if where.mask is None:
        return ""
    image = PurePosixPath(path)
    return posixpath.normpath(image.parent / where.mask.replace("{stem}", image.stem))
