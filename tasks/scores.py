"""The image scores of one detector on one class: its own, and those after the addition of one text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import Record
from nand_core.decision import Claimed, Decision, good_level
from nand_core.errors import NandError
from nand_core.normality import image_score
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
    for maps in opened(spec.base_path, list(spec.ids), spec.base).batches():
        stop = start + len(maps)
        found[start:stop] = image_score(torch.from_numpy(maps))
        start = stop
    return work.store.put(_npy(found), "npy")


def level_of(record: Record, good: Sequence[bool], work: Work) -> float | None:
    """The good level (``nand_core.decision``), of :func:`base_scores` and of which images are good ones, both (n,)."""
    scores = np.load(work.store.path(record), allow_pickle=False)
    return good_level(scores[np.asarray(good, dtype=bool)])


class ScoreSpec(Spec):
    """A detector's maps by content, the paths of their images in order, and what each text claims to be normal.

    ``files`` has the maps of each content.
    """

    unkeyed: ClassVar = frozenset({"files"})

    ids: tuple[str, ...]
    base: str
    claims: dict[str, Claimed]
    files: dict[str, Path]
    rule: Rule


def opened(path: Path, ids: list[str], sha256: str | None = None) -> MapFile:
    """A file of maps, of the content with this digest where one is given.

    Raises
    ------
    NandError
        When it does not hold exactly the maps of ``ids``.
    """
    file = MapFile(path, sha256)
    if list(file.ids) != ids:
        raise NandError(f"{file.path}: its maps are not those of the manifest's test images; run its stage again")
    return file


def map_scores(
    base: str, files: Mapping[str, Path], asked: Sequence[Sequence[Claimed]], ids: list[str], rule: Rule
) -> np.ndarray:
    """Image scores before, and after each of ``asked``, (1 + len(asked), n) float64, a few maps in memory at a time.

    Args:
        base: the content of the detector's maps.
        files: the maps of each content.
        asked: what is claimed to be normal at once.

    Raises:
        NandError: a file has not, or not any more, the content by which it is named.
    """
    named = {one for claims in asked for claim in claims for one in (claim.suppression, *claim.rivals)}
    read = {content: opened(files[content], ids, content) for content in sorted(named)}
    # Filled in place: a small result kept from every batch would pin the memory that the batch took.
    found = np.empty((1 + len(asked), len(ids)))
    start = 0
    whole = (opened(files[base], ids, base), *read.values())
    for parts in zip(*(file.batches() for file in whole), strict=True):
        anomaly, *others = map(torch.from_numpy, parts)
        maps, part = dict(zip(read, others, strict=True)), slice(start, start := start + len(anomaly))
        found[0, part] = image_score(anomaly)
        decision = Decision(anomaly, rule)
        for number, claims in enumerate(asked, 1):
            found[number, part] = image_score(decision.final_maps([one.of(maps) for one in claims]))
    return found


@item
def scores(spec: ScoreSpec, work: Work) -> Record:
    """Before, and after each text in the order of their names, (1 + texts, n) float64, as npy.

    A group is judged by the scores of every text of its class: together they are read once.
    """
    asked = [[spec.claims[text]] for text in sorted(spec.claims)]
    return work.store.put(_npy(map_scores(spec.base, spec.files, asked, list(spec.ids), spec.rule)), "npy")


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
