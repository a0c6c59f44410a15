"""The image scores of one detector on one class: its own, and those after the addition of one text."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import Record
from nand_core.decision import final_maps, good_level
from nand_core.errors import NandError
from nand_core.normality import image_score, union
from nand_core.settings import Rule
from tasks.cache import Spec, item
from tasks.work import Work


class BaseScoreSpec(Spec):
    """A detector's maps by content and the paths of their images in order."""

    unkeyed: ClassVar = frozenset({"base_path"})

    ids: tuple[str, ...]
    base: str
    base_path: Path


@item
def base_scores(spec: BaseScoreSpec, work: Work) -> Record:
    """The maxima of A, (n,) float64, as npy: the good level comes of them before anything is suppressed."""
    found = np.empty(len(spec.ids))
    start = 0
    for maps in opened(spec.base_path, list(spec.ids)).batches():
        stop = start + len(maps)
        found[start:stop] = image_score(torch.from_numpy(maps))
        start = stop
    return work.store.put(_npy(found), "npy")


def level_of(record: Record, good: Sequence[bool], work: Work) -> float | None:
    """The good level (``nand_core.decision``), of :func:`base_scores` and of which images are good ones, both (n,)."""
    scores = np.load(work.store.path(record), allow_pickle=False)
    return good_level(scores[np.asarray(good, dtype=bool)])


class ScoreSpec(Spec):
    """The maps by content and the paths of their images in order."""

    unkeyed: ClassVar = frozenset({"base_path", "suppression_path"})

    ids: tuple[str, ...]
    base: str
    base_path: Path
    suppression: str
    suppression_path: Path
    rule: Rule


def opened(path: Path, ids: list[str]) -> MapFile:
    """A file of maps.

    Raises
    ------
    NandError
        When it does not hold exactly the maps of ``ids``.
    """
    file = MapFile(path)
    if list(file.ids) != ids:
        raise NandError(f"{file.path}: its maps are not those of the manifest's test images; run its stage again")
    return file


def map_scores(
    base: Path, suppressions: Collection[Path], ids: list[str], rule: Rule
) -> tuple[np.ndarray, np.ndarray]:
    """Image scores before and after all ``suppressions``, each (n,) float64, a few maps in memory at a time."""
    files = [opened(path, ids) for path in (base, *suppressions)]
    # Filled in place: a small result kept from every batch would pin the memory that the batch took.
    before, after = np.empty((2, len(ids)))
    start = 0
    for parts in zip(*(file.batches() for file in files), strict=True):
        anomaly, *found = map(torch.from_numpy, parts)
        stop = start + len(anomaly)
        before[start:stop] = image_score(anomaly)
        after[start:stop] = image_score(final_maps(anomaly, union(found), rule))
        start = stop
    return before, after


@item
def scores(spec: ScoreSpec, work: Work) -> Record:
    """Before and after, (2, n) float64, as npy.

    A group is judged by the scores of every text of its class: kept, the maps are read once and not for each group.
    """
    found = map_scores(spec.base_path, [spec.suppression_path], list(spec.ids), spec.rule)
    return work.store.put(_npy(np.stack(found)), "npy")


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
