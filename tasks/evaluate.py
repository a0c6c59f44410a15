"""AUROC before and after the addition of one group to one detector, its bound and its control (section 4)."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from nand_core.artifacts.store import Record
from nand_core.operating import operating_row
from nand_core.protocol import evaluate_group, score_rows
from nand_core.settings import EvaluationSettings
from tasks.cache import Spec, item
from tasks.work import Work


class EvaluateSpec(Spec):
    """The class's test rows (``judged_rows``) and their scores (``tasks.scores``) in the same order.

    ``texts`` are those of the scores, in their order: the groups', and "" for the nonsense.
    """

    detector: str
    group: str
    rows: tuple[dict[str, str], ...]
    texts: tuple[str, ...]
    scores: Record
    settings: EvaluationSettings


@item
def evaluate(spec: EvaluateSpec, work: Work) -> Record:
    """``{"row": of the AUROC table, "operating": of the operating table, "scores": columns}``, as JSON."""
    rows = pd.DataFrame(list(spec.rows))
    before, *scores = np.load(work.store.path(spec.scores), allow_pickle=False)
    wrong = dict(zip(spec.texts, scores, strict=True))
    judged = spec.detector, rows, spec.group, before, wrong.pop(spec.group)
    answer = {
        "row": evaluate_group(*judged, wrong, spec.settings),
        "operating": operating_row(*judged, spec.settings, wrong),
        "scores": score_rows(*judged).to_dict("list"),
    }
    return work.store.put(json.dumps(answer, default=lambda v: v.item()).encode(), "json")
