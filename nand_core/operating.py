"""The operating point: a threshold on the image score for a chosen rate of false alarms, and what it lets pass.

A threshold is set on good test images alone and never judges an image that it was set on. Anomalies are judged
by the threshold of all good images; each good image by that of the good images in the other folds. The good
training images cannot set it: a memory bank holds them, and their scores lie far too low.

A line that may not move its threshold brings it (``evaluation.threshold``): then it judges every image, before the
addition as after it, and the rate of false alarms is what it is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nand_core.datasets.parts import part_of
from nand_core.protocol import known
from nand_core.settings import EvaluationSettings
from nand_core.verdict import counted, keyed, verdict

FOLDS = 5
OPERATING_COLUMNS = [
    "detector", "class", "group", "verdict", "false_alarm",
    "threshold_before", "threshold_after",
    "false_alarms_before", "false_alarms_after", "false_alarms_kept",
    "accepted_before", "accepted_after", "accepted_kept",
    "retained_before", "retained_after", "retained_kept",
    "lost", "accepted_wrong",
    "n_good", "n_group", "n_other",
]  # fmt: skip
EFFECT_COLUMNS = {
    "detector": "str", "class": "str", "id": "str", "type": "str", "group": "str", "added": "bool",
    "score_before": "float64", "score_after": "float64",
    "threshold_before": "float64", "threshold_after": "float64",
    "alarm_before": "bool", "alarm_after": "bool", "alarm_kept": "bool",
}  # fmt: skip
DECIDED = ("accepted_before", "accepted_after", "retained_before", "retained_after", "lost")
"""What stands beside a verdict."""
WHEN = {"before": ("before", "before"), "after": ("after", "after"), "kept": ("after", "before")}
"""Which scores meet which threshold: ``kept`` is the score after the addition at the threshold from before it."""


def threshold(good: ArrayLike, false_alarm: float) -> float:
    """The score above which a new good image lies with a probability of at most ``false_alarm``.

    The ceil((n + 1) (1 - false_alarm))-th smallest of n exchangeable scores has that property. From fewer than
    1 / false_alarm - 1 images no score has: then their maximum is taken, with a probability of 1 / (n + 1).
    nan without images.
    """
    scores = np.sort(np.asarray(good, dtype=np.float64))
    if not len(scores):
        return math.nan
    rank = math.ceil((len(scores) + 1) * (1 - false_alarm) - 1e-9)
    return float(scores[min(rank, len(scores)) - 1])


def class_threshold(good: ArrayLike, settings: EvaluationSettings) -> float:
    """The threshold of a class: the fixed one, or :func:`threshold` of its good images' scores.

    Args:
        good: (n,) scores, or some of them; a fixed threshold needs none.
        settings: of the detector and class (``EvaluationSettings.for_``).
    """
    return threshold(good, settings.false_alarm) if settings.fixed is None else settings.fixed


def folds(ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    """The fold of every image, 0 to ``FOLDS`` - 1, by its part and the seed alone: no other image moves it."""
    digests = (hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in ids)
    return np.array([int.from_bytes(digest[:8], "big") % FOLDS for digest in digests], dtype=np.int64)


def thresholds(
    scores: ArrayLike, good: ArrayLike, ids: Sequence[str], settings: EvaluationSettings
) -> NDArray[np.float64]:
    """The threshold that judges each image, (n,); nan for a good image without good ones in other folds to set it.

    Args:
        scores: (n,) of a class's test images.
        good: (n,) whether the image is a good one.
        ids: (n,) what each image shows (``part_of``): a part's images never set the threshold that judges one of them.
        settings: as :func:`class_threshold` takes them; the seed is that of the folds.
    """
    scores, good = np.asarray(scores, dtype=np.float64), np.asarray(good, dtype=bool)
    fold = np.where(good, folds(ids, settings.seed), -1)
    by_fold = {k: class_threshold(scores[good & (fold != k)], settings) for k in set(fold.tolist())}
    return np.array([by_fold[k] for k in fold.tolist()], dtype=np.float64)


def operating_row(
    detector: str,
    rows: pd.DataFrame,
    group: str,
    before: ArrayLike,
    after: ArrayLike,
    settings: EvaluationSettings,
    wrong: Mapping[str, ArrayLike] | None = None,
) -> dict[str, object]:
    """One row of ``results/operating.parquet`` (``OPERATING_COLUMNS``): as ``evaluate_group`` takes them.

    ``accepted`` is the percentage of the added group's images without an alarm, ``retained`` that of all other
    anomalies with one, ``false_alarms`` that of good images with one; nan where there is no such image. Each
    ``before``, ``after`` with a threshold set anew, and ``kept``: after, at the threshold from before. ``lost`` is the
    percentage of the other anomalies with an alarm before and none after, ``accepted_wrong`` that of the group's images
    that pass with the best of the wrong texts, and ``verdict`` what all that means (``nand_core.verdict``).
    ``settings`` are those of the detector and class; with a fixed threshold ``after`` is ``kept``, and no rate chosen
    (nan).
    """
    good = (rows["type"] == "good").to_numpy()
    own = (rows["group"] == group).to_numpy()
    other = ~good & ~own
    row: dict[str, object] = dict.fromkeys(OPERATING_COLUMNS)
    row |= {"detector": detector, "class": str(rows["class"].iloc[0]), "group": group}
    row |= {"false_alarm": 100 * settings.false_alarm if settings.fixed is None else math.nan}
    row |= {"n_good": int(good.sum()), "n_group": int(own.sum()), "n_other": int(other.sum())}
    scores = {"before": np.asarray(before), "after": np.asarray(after)}
    parts = part_of(rows).tolist()
    limits = {when: thresholds(s, good, parts, settings) for when, s in scores.items()}
    for when, s in scores.items():
        row[f"threshold_{when}"] = class_threshold(s[good], settings)
    for name, (score, limit) in WHEN.items():
        alarm, known = scores[score] > limits[limit], np.isfinite(limits[limit])
        row[f"false_alarms_{name}"] = _percent(alarm[good & known])
        row[f"accepted_{name}"] = _percent(~alarm[own & known])
        row[f"retained_{name}"] = _percent(alarm[other & known])
    alarms = {when: scores[when] > limits[when] for when in scores}
    lost = alarms["before"] & ~alarms["after"] & other
    row["lost"] = _percent(lost[other])
    accepted_wrong = _accepted_wrong(own, good, parts, wrong or {}, settings)
    row["accepted_wrong"] = accepted_wrong
    row["verdict"] = verdict(
        (int((~alarms["before"][own]).sum()), int((~alarms["after"][own]).sum()), int(own.sum())),
        accepted_wrong,
        (int(lost.sum()), int(other.sum())),
        lost_alarms=settings.lost_alarms,
        level=settings.level,
    )
    return row


def _accepted_wrong(
    own: NDArray[np.bool_],
    good: NDArray[np.bool_],
    parts: Sequence[str],
    wrong: Mapping[str, ArrayLike],
    settings: EvaluationSettings,
) -> float:
    """Percent of a group's images that pass with the wrong text that lets most of them pass; nan without one."""
    passed = (~(scores > thresholds(scores, good, parts, settings)) for scores in map(np.asarray, wrong.values()))
    return max((_percent(found[own]) for found in passed), default=math.nan)


def effect_rows(
    detector: str,
    rows: pd.DataFrame,
    added: Collection[str],
    before: ArrayLike,
    after: ArrayLike,
    settings: EvaluationSettings,
) -> pd.DataFrame:
    """A class's part of ``results/normalities.parquet`` (``EFFECT_COLUMNS``): every test image before and after.

    Args:
        added: the labelled groups among the class's normalities.
        after: (n,) scores with all of the class's normalities added.
        settings: of the detector and class.
    """
    good = (rows["type"] == "good").to_numpy()
    values: dict[str, Any] = {
        "detector": detector,
        **{name: rows[name].to_numpy() for name in ("class", "type", "group")},
        "id": rows["path"].to_numpy(),
        "added": rows["group"].isin(set(added)).to_numpy(),
    }
    for when, scores in (("before", before), ("after", after)):
        values[f"score_{when}"] = np.asarray(scores, dtype=np.float64)
        values[f"threshold_{when}"] = thresholds(scores, good, part_of(rows).tolist(), settings)
    for name, (score, limit) in WHEN.items():
        values[f"alarm_{name}"] = values[f"score_{score}"] > values[f"threshold_{limit}"]
    return effect_table(pd.DataFrame(values))


def effect_table(*parts: pd.DataFrame) -> pd.DataFrame:
    """``results/normalities.parquet``: the parts of all classes, with their columns' types where there is none."""
    found = pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=list(EFFECT_COLUMNS))])
    return found[list(EFFECT_COLUMNS)].astype(EFFECT_COLUMNS).sort_values(["class", "detector", "id"])


def effect_summary(effect: pd.DataFrame) -> pd.DataFrame:
    """How many images of each kind raise an alarm.

    Args:
        effect: rows of ``results/normalities.parquet``.

    Returns:
        Columns detector, class, kind (a group, a type that is in none, or ``good``), added, images and
        alarms_before, _after and _kept; the added groups of a class first and the good images last.
    """
    kinds = effect.assign(
        kind=effect["group"].where(effect["group"] != "", effect["type"]),
        last=np.where(effect["type"] == "good", 2, np.where(effect["added"], 0, 1)),
    )
    found = kinds.groupby(["detector", "class", "last", "kind"], as_index=False).agg(
        added=("added", "any"),
        images=("id", "size"),
        **{f"alarms_{name}": (f"alarm_{name}", "sum") for name in WHEN},
    )
    return found.drop(columns="last")


def operating_means(operating: pd.DataFrame) -> pd.DataFrame:
    """The percentages of each detector: means over classes of the means over each class's groups."""
    columns = [f"{what}_{when}" for what in ("false_alarms", "accepted", "retained") for when in WHEN]
    classes = operating.groupby(["detector", "class"])[[*columns, "lost"]].mean()
    return classes.groupby("detector").mean()


def decisions(operating: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What comes first in ``metrics.json``: how each detector's groups were judged.

    Returns:
        ``{detector: {"verdict": {works, helps, no_effect, harms}, accepted_before, ...}}``: counts of groups, and of
        ``DECIDED`` the means of :func:`operating_means` in percent, None where no image says anything.
    """
    means = operating_means(operating).to_dict("index")
    return {
        str(detector): {
            "verdict": keyed(counted(rows["verdict"])),
            **{name: known(float(means[detector][name])) for name in DECIDED},
        }
        for detector, rows in operating.groupby("detector")
    }


def summary(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """The few figures of ``metrics.json`` by which runs are compared, by detector."""
    return {
        detector: {
            "works": row["verdict"]["works"],
            "harms": row["verdict"]["harms"],
            "accepted": row["accepted_after"],
            "retained": row["retained_after"],
            "lost": row["lost"],
            "gain": row["gain"],
        }
        for detector, row in figures.items()
    }


def _percent(found: NDArray[np.bool_]) -> float:
    return 100.0 * float(found.mean()) if len(found) else math.nan
