"""What the results say of a class now, and whether they are those of the settings."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nand_core.decision import good_level
from nand_core.errors import NandError
from nand_core.normalities import Normality
from nand_core.operating import class_threshold
from nand_core.prompts.settings import PromptSettings
from nand_core.report.inputs import read_json
from nand_core.settings import EvaluationSettings

FIRST = "run 'nand repro' first"


def current_thresholds(
    effect: pd.DataFrame, operating: pd.DataFrame, detector: str, class_name: str, settings: EvaluationSettings
) -> tuple[float, float, float | None]:
    """Thresholds of a class and detector before and after the normalities that the class has, and the good level.

    Those of all good images (``nand_core.operating``); without normalities both are the one from before, and no level
    is needed. A fixed threshold is itself, whatever the results say.

    Args:
        effect: rows of ``results/normalities.parquet``.
        operating: rows of ``results/operating.parquet``.
        settings: of all detectors and classes.

    Raises
    ------
    NandError
        When the results hold none, or one for another rate of false alarms.
    """
    settings = settings.for_(detector, class_name)
    rows = effect[(effect["detector"] == detector) & (effect["class"] == class_name)]
    if len(rows) or settings.fixed is not None:
        good = rows[rows["type"] == "good"]
        before, after = (class_threshold(good[f"score_{when}"], settings) for when in ("before", "after"))
        level = good_level(good["score_before"])
    else:
        rows = operating[(operating["detector"] == detector) & (operating["class"] == class_name)]
        rows = rows[rows["false_alarm"] == 100 * settings.false_alarm]
        before = after = float(rows["threshold_before"].iloc[0]) if len(rows) else float("nan")
        level = None
    if math.isnan(before):
        raise NandError(f"results: no threshold of {detector} for {class_name} there; {FIRST}")
    return before, after, level


def good_scores(effect: pd.DataFrame, scores: pd.DataFrame, detector: str, class_name: str) -> NDArray[np.float64]:
    """(n,) scores of a class's good test images with the normalities that the class has; none where none is known.

    Args:
        effect: rows of ``results/normalities.parquet``.
        scores: rows of ``results/scores.parquet``, each image once.
    """
    for table, column in ((effect, "score_after"), (scores, "score_before")):
        rows = table[(table["detector"] == detector) & (table["class"] == class_name)]
        if len(rows):
            return rows.loc[rows["type"] == "good", column].to_numpy(dtype=np.float64)
    return np.empty(0)


def check_current(
    texts: Collection[tuple[str, str]],
    held: Mapping[str, Sequence[Normality]],
    features: Collection[tuple[str, str, str]],
    effect: pd.DataFrame,
    artifacts: Path,
    settings: PromptSettings,
    detectors: Collection[str],
) -> None:
    """Refuse results that are not those of the settings, as far as names, phrases and what is there tell.

    Args:
        texts: (class, name) of every text that has to have features: of all that is asked.
        held: the normalities of each class that has some.
        features: (class, name, kind) of the rows of ``artifacts/text_features.parquet``.
        effect: rows of ``results/normalities.parquet``.
        artifacts: folder of the prompt sets, and of the suppression maps.

    Raises
    ------
    NandError
        Naming the first difference.
    """
    encoded = {(name, text) for name, text, kind in features if kind == "add"}
    if other := sorted(encoded ^ set(texts)):
        raise NandError(f"artifacts/text_features.parquet: not that of the settings ({'/'.join(other[0])}); {FIRST}")
    for one in (one for found in held.values() for one in found):
        if not one.asked:  # examples alone: no phrases, no features
            path = artifacts / "suppression" / one.class_name / f"{one.name}.npz"
            if not path.is_file():
                raise NandError(f"{path}: not there; {FIRST}")
            continue
        path = artifacts / "prompts" / one.class_name / f"{one.name}.json"
        wanted = one.phrases or settings.explicit.get(one.class_name, {}).get(one.text)
        if not path.is_file() or (wanted and list(wanted) != read_json(path)["phrases"]):
            raise NandError(f"{path}: not that of the settings; {FIRST}")
    for name in sorted({*held, *effect["class"]}):
        for detector in detectors:
            rows = effect[(effect["class"] == name) & (effect["detector"] == detector)]
            added = set(rows.loc[rows["added"], "group"])
            if bool(len(rows)) != (name in held) or added != {one.group for one in held.get(name, ())} - {""}:
                raise NandError(f"results/normalities.parquet: not that of the settings ({name}); {FIRST}")
