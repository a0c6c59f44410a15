"""What all normalities of a class together do to one detector's scores."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nand_core.artifacts.store import Record
from nand_core.datasets.parts import of_parts
from nand_core.decision import Claimed
from nand_core.operating import effect_rows
from nand_core.settings import EvaluationSettings, Rule
from tasks.cache import Spec, item
from tasks.scores import map_scores
from tasks.work import Work


class EffectSpec(Spec):
    """The maps by content, in ``files``; what is claimed in the digests' order: which was added first has no effect.

    ``added`` are the labelled groups among the normalities; ``rows`` as in ``EvaluateSpec``. ``left_out`` are the paths
    of images that are examples of a normality: what it does to their parts says nothing.
    """

    unkeyed: ClassVar = frozenset({"files"})

    detector: str
    rows: tuple[dict[str, str], ...]
    added: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    base: str
    claims: tuple[Claimed, ...]
    files: dict[str, Path]
    rule: Rule
    settings: EvaluationSettings


def judged(spec: EffectSpec, before: ArrayLike, after: ArrayLike) -> pd.DataFrame:
    """The class's rows of ``results/normalities.parquet`` by the scores (n,) of its images before and after."""
    rows = pd.DataFrame(list(spec.rows))
    kept = ~of_parts(rows, spec.left_out).to_numpy()
    before, after = np.asarray(before)[kept], np.asarray(after)[kept]
    return effect_rows(spec.detector, rows[kept], spec.added, before, after, spec.settings)


@item
def normalities(spec: EffectSpec, work: Work) -> Record:
    """The class's rows of ``results/normalities.parquet``."""
    ids = [row["path"] for row in spec.rows]
    buffer = io.BytesIO()
    before, after = map_scores(spec.base, spec.files, [spec.claims], ids, spec.rule)
    judged(spec, before, after).to_parquet(buffer, index=False)
    return work.store.put(buffer.getvalue(), "parquet")
