"""The protocol (paper, section 4): re-labelling by group, image AUROC, class and detector means.

Beside each gain stand two figures that say what it is worth: the bound, what a perfect normality would give, and the
control, what wrong texts give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nand_core.errors import NandError, nearest
from nand_core.settings import EvaluationSettings

AUROC_COLUMNS = [
    "detector", "class", "group",
    "auroc_before", "auroc_after", "auroc_bound", "auroc_wrong", "wrong", "gain_low", "gain_high",
    "n_normal", "n_abnormal",
]  # fmt: skip
SCORE_COLUMNS = ["detector", "class", "group", "id", "type", "label", "score_before", "score_after"]

WORSE = -0.5
"""A group whose gain (AUROC points) lies below this counts as worse."""

NONSENSE = "nonsense"
"""What the column ``wrong`` calls the text that means nothing."""

LEAST_POSSIBLE = 0.05
"""Where less than this (AUROC points) can be gained, the share of it would be noise."""

_BLOCK = 1 << 21  # bootstrap weights held at once: bounds the memory whatever the number of images


def labels(rows: pd.DataFrame, group: str) -> NDArray[np.int64]:
    """Labels of a class's test images once ``group`` counts as normal.

    Args:
        rows: manifest rows (columns ``class``, ``type``, ``group``) of one class's test images.
        group: the group whose normality was added.

    Returns:
        (n,) 0 for good images and the group's, 1 for every other, types that belong to no group included.

    Raises:
        NandError: no image belongs to ``group``.
    """
    known = set(rows["group"]) - {""}
    if group not in known:
        raise NandError(f"{_where(rows, group)}: no test image belongs to this group{nearest(group, known)}")
    normal = (rows["type"] == "good") | (rows["group"] == group)
    return np.asarray(~normal, dtype=np.int64)


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Image-level AUROC in percent (0-100); ties count half.

    Raises:
        NandError: one of the two labels is missing, or a score is not finite.
    """
    from sklearn.metrics import roc_auc_score  # takes a second, and not every stage asks for an AUROC

    labels, scores = _check(labels, scores)
    return 100.0 * float(roc_auc_score(labels, scores))


def auroc_bound(rows: pd.DataFrame, group: str, before: ArrayLike) -> float:
    """AUROC in percent of the unchanged detector with the group's images left out: good against the other defects.

    A perfect normality gives that: the group's images score like good ones, and no other score changes. It is no
    limit: images that score below all good ones raise the AUROC further. nan where the class has no good image.

    Args:
        rows, group: as in :func:`labels`.
        before: (n,) scores of the unchanged detector.

    Raises:
        NandError: as :func:`labels` and :func:`auroc`.
    """
    kept = (rows["group"] != group).to_numpy()
    truth = labels(rows, group)[kept]
    return auroc(truth, np.asarray(before)[kept]) if (truth == 0).any() else math.nan


def best_wrong(truth: ArrayLike, wrong: Mapping[str, ArrayLike]) -> tuple[float, str]:
    """The control: what is gained by a text that does not mean the group.

    Args:
        truth: (n,) labels with the group added.
        wrong: (n,) scores after the addition of each wrong text, by the group that it means, "" for none.

    Returns:
        The largest AUROC in percent and whose it is, ``NONSENSE`` for the text that means no group; of equal ones
        that, else the first by name.

    Raises:
        NandError: as :func:`auroc`.
    """
    found = {text: auroc(truth, wrong[text]) for text in sorted(wrong)}
    best = max(found, key=lambda text: found[text])
    return found[best], best or NONSENSE


def share(before: float, after: float, bound: float) -> float:
    """The part in percent of the possible gain that was gained; nan where less than ``LEAST_POSSIBLE`` was possible."""
    possible = bound - before
    return 100.0 * (after - before) / possible if possible >= LEAST_POSSIBLE else math.nan


def gain_interval(
    labels: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    *,
    parts: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 95.0,
) -> tuple[float, float]:
    """Percentile interval of AUROC(after) - AUROC(before), in AUROC points.

    Paired bootstrap over parts, stratified by label: a draw takes the same images for both scores, and of a part all or
    none. ``parts`` (n,) says which part an image shows; None: each another.
    Every image's count in a draw is its weight in the Mann-Whitney statistic, so nothing is sorted twice.

    Raises:
        NandError: as :func:`auroc`.
    """
    labels, before = _check(labels, before)
    _, after = _check(labels, after)
    shown = np.arange(len(labels)) if parts is None else np.asarray(parts)
    of_normal, of_abnormal = (np.unique(shown[labels == label], return_inverse=True)[1] for label in (0, 1))
    rng_normal, rng_abnormal = np.random.default_rng(seed).spawn(2)
    block = max(1, _BLOCK // len(labels))
    gains = np.empty(draws)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        normal = _counts(rng_normal, of_normal.max() + 1, size)[:, of_normal]
        abnormal = _counts(rng_abnormal, of_abnormal.max() + 1, size)[:, of_abnormal]
        gained = weighted_auroc(labels, after, normal, abnormal) - weighted_auroc(labels, before, normal, abnormal)
        gains[start : start + size] = gained
    tail = (100.0 - level) / 2
    low, high = np.percentile(gains, [tail, 100.0 - tail], overwrite_input=True)
    return float(low), float(high)


def weighted_auroc(
    labels: NDArray[np.int64], scores: NDArray[np.float64], normal: NDArray[np.int64], abnormal: NDArray[np.int64]
) -> NDArray[np.float64]:
    """AUROC in percent for many weightings of the same images.

    Args:
        labels, scores: (n,) of the images; a normal image has label 0.
        normal: (draws, n_normal) weights of the normal images, in their order in ``scores``.
        abnormal: (draws, n_abnormal) weights of the abnormal images.

    Returns:
        (draws,) equal to scikit-learn's ``roc_auc_score`` with these sample weights.
    """
    negative, positive = scores[labels == 0], scores[labels == 1]
    order = np.argsort(negative, kind="stable")
    ranked = negative[order]
    below = np.zeros((len(normal), len(order) + 1))
    np.cumsum(normal[:, order], axis=1, out=below[:, 1:])
    # weight of the normal images below each abnormal one; those that tie with it count half
    wins = below[:, np.searchsorted(ranked, positive, "left")]
    wins = wins + below[:, np.searchsorted(ranked, positive, "right")]
    pairs = below[:, -1] * abnormal.sum(axis=1)
    won = np.einsum("dp,dp->d", wins, abnormal, dtype=np.float64)
    percent: NDArray[np.float64] = 100.0 * won / (2.0 * pairs)
    return percent


def evaluate_group(
    detector: str,
    rows: pd.DataFrame,
    group: str,
    before: ArrayLike,
    after: ArrayLike,
    wrong: Mapping[str, ArrayLike],
    settings: EvaluationSettings,
) -> dict[str, object]:
    """One row of the AUROC table (``AUROC_COLUMNS``): a detector on one class, with one group added.

    Args:
        detector: the detector's name.
        rows: manifest rows of the class's test images, in the order of the scores.
        group: the group whose normality was added.
        before, after: (n,) image scores, the maxima of A and of A_final.
        wrong: (n,) scores with each wrong text added in the group's place, as in :func:`best_wrong`.
        settings: the bootstrap's draws, seed and level.

    Raises:
        NandError: unknown group, a label without an image, scores that do not fit; names class and group.
    """
    truth = labels(rows, group)
    try:
        first, second = auroc(truth, before), auroc(truth, after)
        bound, control = auroc_bound(rows, group, before), best_wrong(truth, wrong)
    except NandError as error:
        raise NandError(f"{_where(rows, group)}, detector {detector!r}: {error}") from None
    low, high = gain_interval(
        truth, before, after, parts=rows.get("part"),
        draws=settings.bootstrap, seed=settings.seed, level=settings.level,
    )  # fmt: skip
    values = [
        detector, _class_name(rows), group,
        first, second, bound, *control, low, high,
        int(np.sum(truth == 0)), int(np.sum(truth == 1)),
    ]  # fmt: skip
    return dict(zip(AUROC_COLUMNS, values, strict=True))


def score_rows(
    detector: str, rows: pd.DataFrame, group: str, before: ArrayLike, after: ArrayLike
) -> pd.DataFrame:
    """The image scores behind :func:`evaluate_group`, one row an image (``SCORE_COLUMNS``)."""
    values = {
        "detector": detector,
        "class": rows["class"].to_numpy(),
        "group": group,
        "id": rows["path"].to_numpy(),
        "type": rows["type"].to_numpy(),
        "label": labels(rows, group),
        "score_before": np.asarray(before, dtype=np.float64),
        "score_after": np.asarray(after, dtype=np.float64),
    }
    return pd.DataFrame(values, columns=SCORE_COLUMNS)


def class_table(table: pd.DataFrame) -> pd.DataFrame:
    """A class's figures, means over its groups; the share is that of the means.

    Returns:
        Columns detector, class, auroc_before, auroc_after, auroc_bound, gain, share, text_effect, groups,
        groups_worse; one row a class.
    """
    marked = table.assign(
        worse=(table["auroc_after"] - table["auroc_before"]) < WORSE,
        text_effect=table["auroc_after"] - table["auroc_wrong"],
    )
    means = marked.groupby(["detector", "class"], as_index=False).agg(
        auroc_before=("auroc_before", "mean"),
        auroc_after=("auroc_after", "mean"),
        auroc_bound=("auroc_bound", "mean"),
        text_effect=("text_effect", "mean"),
        groups=("group", "size"),
        groups_worse=("worse", "sum"),
    )
    means.insert(5, "gain", means["auroc_after"] - means["auroc_before"])
    shares = list(map(share, means["auroc_before"], means["auroc_after"], means["auroc_bound"]))
    means.insert(6, "share", pd.Series(shares, dtype="float64"))
    return means


def aggregate(table: pd.DataFrame) -> dict[str, dict[str, float | int | None]]:
    """A detector's figures: mean over classes of the mean over each class's groups; the share is that of the means.

    Args:
        table: rows with detector, class, group, and auroc_before, _after, _bound and _wrong in percent.

    Returns:
        ``{detector: {auroc_before, auroc_after, auroc_bound, gain, share, text_effect, groups, groups_worse}}``, worse
        as in ``WORSE``; None for what is not known: a bound without good images, a share of nothing.
    """
    return {str(detector): _means(classes) for detector, classes in class_table(table).groupby("detector")}


def _means(classes: pd.DataFrame) -> dict[str, float | int | None]:
    before, after = float(classes["auroc_before"].mean()), float(classes["auroc_after"].mean())
    # Over all classes or over none: beside a mean over other classes it would bound nothing.
    bound = float(classes["auroc_bound"].mean(skipna=False))
    return {
        "auroc_before": before,
        "auroc_after": after,
        "auroc_bound": known(bound),
        "gain": float(classes["gain"].mean()),
        "share": known(share(before, after, bound)),
        "text_effect": known(float(classes["text_effect"].mean())),
        "groups": int(classes["groups"].sum()),
        "groups_worse": int(classes["groups_worse"].sum()),
    }


def known(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else value


def _check(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels, scores = np.asarray(labels, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise NandError(f"{scores.shape} scores for {labels.shape} labels: expected one score an image")
    if not np.isfinite(scores).all():
        raise NandError(f"{int(np.sum(~np.isfinite(scores)))} of {len(scores)} scores are not finite")
    n_normal, n_abnormal = int(np.sum(labels == 0)), int(np.sum(labels == 1))
    if not n_normal or not n_abnormal:
        raise NandError(
            f"AUROC needs normal and abnormal images, but there are {n_normal} normal "
            f"and {n_abnormal} abnormal; add images of another anomaly type or leave this group out"
        )
    return labels, scores


def _counts(rng: np.random.Generator, n: int, draws: int) -> NDArray[np.int64]:
    """How often each of ``n`` parts is in each of ``draws`` samples with replacement: (draws, n)."""
    picks = rng.integers(0, n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * n).reshape(draws, n)


def _class_name(rows: pd.DataFrame) -> str:
    names: list[str] = sorted(set(rows["class"]))
    if len(names) != 1:
        raise NandError(f"expected the test images of one class, got {names or 'none'}")
    return names[0]


def _where(rows: pd.DataFrame, group: str) -> str:
    return f"class {'/'.join(sorted(set(rows['class'])))!r}, group {group!r}"
