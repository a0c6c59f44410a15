"""AUROC before and after the addition of one group to one detector (section 4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import Record
from nand_core.errors import NandError
from nand_core.normality import image_score, suppress, union
from nand_core.operating import operating_row
from nand_core.protocol import evaluate_group, score_rows
from nand_core.settings import EvaluationSettings
from tasks.cache import Spec, item
from tasks.work import Work


class EvaluateSpec(Spec):
    """The maps by content, and the class's test rows (class, type, group, path) in their order."""

    unkeyed: ClassVar = frozenset({"base_path", "suppression_path"})

    detector: str
    group: str
    rows: tuple[dict[str, str], ...]
    base: str
    base_path: Path
    suppression: str
    suppression_path: Path
    settings: EvaluationSettings


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
def evaluate(spec: EvaluateSpec, work: Work) -> Record:
    """``{"row": of the AUROC table, "operating": of the operating table, "scores": columns}``, as JSON."""
    rows = pd.DataFrame(list(spec.rows))
    ids = rows["path"].tolist()
    before, after = map_scores(spec.base_path, [spec.suppression_path], ids, spec.settings.alpha)
    judged = spec.detector, rows, spec.group, before, after
    answer = {
        "row": evaluate_group(*judged, spec.settings),
        "operating": operating_row(*judged, spec.settings),
        "scores": score_rows(*judged).to_dict("list"),
    }
    return work.store.put(json.dumps(answer, default=lambda v: v.item()).encode(), "json")
