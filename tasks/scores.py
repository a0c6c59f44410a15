"""The image scores of one detector on one class, before and after the addition of one text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import Record
from nand_core.errors import NandError
from nand_core.normality import image_score, suppress, union
from tasks.cache import Spec, item
from tasks.work import Work


class ScoreSpec(Spec):
    """The maps by content and the paths of their images in order; ``alpha`` is the suppression's strength."""

    unkeyed: ClassVar = frozenset({"base_path", "suppression_path"})

    ids: tuple[str, ...]
    base: str
    base_path: Path
    suppression: str
    suppression_path: Path
    alpha: float


def map_scores(
    base: Path, suppressions: Sequence[Path], ids: list[str], alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Image scores before and after Eq. 6 with all ``suppressions``, each (n,) float64, a few maps in memory at a time.

    Raises
    ------
    NandError
        When a file does not hold exactly the maps of ``ids``.
    """
    files = [MapFile(path) for path in (base, *suppressions)]
    for file in files:
        if list(file.ids) != ids:
            raise NandError(f"{file.path}: its maps are not those of the manifest's test images; run its stage again")
    # Filled in place: a small result kept from every batch would pin the memory that the batch took.
    before, after = np.empty((2, len(ids)))
    start = 0
    for parts in zip(*(file.batches() for file in files), strict=True):
        anomaly, *found = map(torch.from_numpy, parts)
        stop = start + len(anomaly)
        before[start:stop] = image_score(anomaly)
        after[start:stop] = image_score(suppress(anomaly, union(found), alpha))
        start = stop
    return before, after


@item
def scores(spec: ScoreSpec, work: Work) -> Record:
    """Before and after, (2, n) float64, as npy.

    A group is judged by the scores of every text of its class: kept, the maps are read once and not for each group.
    """
    found = map_scores(spec.base_path, [spec.suppression_path], list(spec.ids), spec.alpha)
    buffer = io.BytesIO()
    np.save(buffer, np.stack(found), allow_pickle=False)
    return work.store.put(buffer.getvalue(), "npy")
