"""Examples of what is normal: their files, and what the suppression maps are made of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd

from flows.features import class_heads, class_shards
from flows.run import ARTIFACTS, Run
from nand_core.artifacts.store import Record, sha256_file
from nand_core.errors import NandError
from nand_core.example_files import MISSING, OTHER, check_example_files
from nand_core.examples import check_example
from nand_core.normalities import Normality, current, known_groups
from nand_core.prompts.settings import Example
from tasks.encoder import encoder_key
from tasks.examples import (
    DistancesSpec,
    ExampleSpec,
    GoodSpec,
    KindsSpec,
    Place,
    defect_kinds,
    example_patches,
    good_patches,
    patch_distances,
    read_unusual,
)
from tasks.image_features import Shard
from tasks.suppression import ShownSpec

EXAMPLES = ARTIFACTS / "examples"

Key = TypeVar("Key", bound=Hashable)


def examples(params: str = "params.yaml") -> None:
    """Check ``artifacts/examples/<class>/``: the files that the settings name, with the content that they name.

    ``nand add --like`` puts them there; what no normality names any more is removed.
    """
    run = Run.start("examples", Path(params))
    named = check_example_files(run.params.prompts, EXAMPLES, run.bits)
    with run.writing():
        EXAMPLES.mkdir(parents=True, exist_ok=True)
        for path in sorted(EXAMPLES.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.is_file() and path not in named:
                path.unlink()
    run.finish()


class Reference:
    """What examples are compared with, class by class: good patches, and the test images' distances to them."""

    def __init__(self, run: Run, folder: Path = EXAMPLES) -> None:
        self.run, self.key, self.folder = run, encoder_key(run.params.encoder), folder
        self._good: dict[str, Record] = {}
        self._distances: dict[str, Record] = {}
        self._kinds: dict[str, Record] = {}
        self._heads: dict[str, Record] | None = None

    def kinds(self, class_name: str) -> Record | None:
        """What the encoder calls the class's kinds of defect; None where what patches mean does not count."""
        suppression = self.run.params.suppression
        if suppression.examples.meaning is None:
            return None
        if class_name not in self._kinds:
            spec = KindsSpec(class_name=class_name, deepest=suppression.deepest, encoder=self.key)
            self._kinds |= self.run.items(defect_kinds, {class_name: spec}, stage="good_patches")
        return self._kinds[class_name]

    def heads(self, class_name: str) -> Record | None:
        """The class's own heads, where what patches mean counts and it has some."""
        if self._heads is None:
            counts = self.run.params.suppression.examples.meaning is not None
            self._heads = class_heads(self.run) if counts else {}
        return self._heads.get(class_name)

    def good(self, class_name: str) -> Record:
        """The class's good patches."""
        if class_name not in self._good:
            shards = class_shards(self.run, "train", encoded=True, class_name=class_name)
            spec = GoodSpec(
                class_name=class_name,
                shards=shards.get(class_name, ()),
                encoder=self.key,
                settings=self.run.params.suppression.examples,
            )
            self._good |= self.run.items(good_patches, {class_name: spec}, stage="good_patches")
        return self._good[class_name]

    def distances(self, class_name: str, shards: tuple[Shard, ...]) -> Record:
        """Of the class's test images, whose encoded ``shards`` these are."""
        if class_name not in self._distances:
            spec = DistancesSpec(shards=shards, good=self.good(class_name))
            self._distances |= self.run.items(patch_distances, {class_name: spec}, stage="good_patches")
        return self._distances[class_name]

    def patches(
        self, class_name: str, images: Mapping[Key, tuple[Path, str]], places: Mapping[Key, Place] | None = None
    ) -> dict[Key, Record]:
        """Of examples of one class, each the path and sha256 of an image, with the place in it where that is known."""
        specs = {
            key: ExampleSpec(
                image=sha256,
                path=path,
                place=(places or {}).get(key, Place()),
                good=self.good(class_name),
                encoder=self.key,
                settings=self.run.params.suppression.examples,
                kinds=self.kinds(class_name),
                heads=self.heads(class_name),
                bits=self.run.bits,
                tiles=self.run.params.encoder.tiles,
            )
            for key, (path, sha256) in images.items()
        }
        return self.run.items(example_patches, specs, stage="example_patches") if specs else {}

    def shown(self, one: Normality, shards: tuple[Shard, ...]) -> ShownSpec | None:
        """A normality's examples, as its suppression maps on the class's test images are made of them; None without."""
        if not one.like and not one.unlike:
            return None
        like, unlike = self.sides(one)
        distances = self.distances(one.class_name, shards)
        return ShownSpec(
            like=like,
            unlike=unlike,
            good=self.good(one.class_name),
            distances=distances,
            settings=self.run.params.suppression.examples,
            kinds=self.kinds(one.class_name),
        )

    def sides(self, one: Normality) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        """The patches of a normality's examples, of ``like`` and of ``unlike``.

        Raises:
            NandError: a file is not there or not the one it is named after, or its image says nothing.
        """
        folder, digests = self.folder / one.class_name, {}
        sides = [(example, side) for side in ("like", "unlike") for example in getattr(one, side)]
        for path in (folder / name for example, _ in sides for name in (example.image, example.mask) if name):
            if not path.is_file():
                raise NandError(MISSING.format(path))
            digests[path.name] = sha256_file(path)
            if not digests[path.name].startswith(path.name[:16]):
                raise NandError(OTHER.format(path, self.folder))
        records = self.patches(
            one.class_name,
            {key: (folder / key[0].image, digests[key[0].image]) for key in sides},
            {key: _place(folder, key[0], digests) for key in sides},
        )
        for (example, _), record in records.items():
            placed = bool(example.box or example.mask)
            check_example(example.image[17:], one.class_name, placed, read_unusual(record, self.run.work))
        # In the order of their content: which was named first has no effect.
        like, unlike = (
            tuple(sorted((records[key] for key in sides if key[1] == side), key=lambda record: record.sha256))
            for side in ("like", "unlike")
        )
        return like, unlike


def _place(folder: Path, example: Example, digests: Mapping[str, str]) -> Place:
    if example.mask:
        return Place(mask=digests[example.mask], mask_path=folder / example.mask)
    return Place(box=example.box)


def left_out(run: Run) -> Mapping[str, frozenset[str]]:
    """Of each class, the paths of the test images that are examples of a normality: no figure counts them."""
    manifest = run.manifest
    tests = manifest[manifest["split"] == "test"]
    found: dict[str, frozenset[str]] = {}
    for one in current(run.params.prompts, known_groups(manifest)):
        named = {example.image[:16] for example in (*one.like, *one.unlike)}
        rows = _of(tests, one.class_name)
        same = rows.loc[rows["sha256"].str[:16].isin(named), "path"]
        found[one.class_name] = found.get(one.class_name, frozenset()) | frozenset(same)
    return found


def _of(manifest: pd.DataFrame, class_name: str) -> pd.DataFrame:
    return manifest[manifest["class"] == class_name]
