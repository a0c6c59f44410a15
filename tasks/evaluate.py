"""AUROC before and after the addition of one group to one detector (section 4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import Record
from nand_core.errors import NandError
from nand_core.normality import image_score, suppress
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


def map_scores(base: Path, suppression: Path, ids: list[str], alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Image scores before and after Eq. 6, each (n,) float64, a few maps in memory at a time.

    Raises
    ------
    NandError
        When a file does not hold exactly the maps of ``ids``.
    """
    anomaly, found = MapFile(base), MapFile(suppression)
    for path, maps in ((base, anomaly), (suppression, found)):
        if list(maps.ids) != ids:
            raise NandError(
                f"{path}: its maps are not those of the manifest's test images; run its stage again"
            )
    before, after = [], []
    for a, s in zip(anomaly.batches(), found.batches(), strict=True):
        a, s = torch.from_numpy(a), torch.from_numpy(s)
        before.append(image_score(a))
        after.append(image_score(suppress(a, s, alpha)))
    return torch.cat(before).double().numpy(), torch.cat(after).double().numpy()


@item
def evaluate(spec: EvaluateSpec, work: Work) -> Record:
    """``{"row": the AUROC table's row, "scores": columns of the score table}``, as JSON."""
    rows = pd.DataFrame(list(spec.rows))
    before, after = map_scores(
        spec.base_path, spec.suppression_path, rows["path"].tolist(), spec.settings.alpha
    )
    row = evaluate_group(spec.detector, rows, spec.group, before, after, spec.settings)
    scores = score_rows(spec.detector, rows, spec.group, before, after)
    return work.store.put(
        json.dumps({"row": row, "scores": scores.to_dict("list")}, default=lambda v: v.item()).encode(),
        "json",
    )
