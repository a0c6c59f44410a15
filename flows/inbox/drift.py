"""Whether the images of a line are still those that its threshold was set for.

Nothing says which of them are good. What can be said: how many of the recent ones raise an alarm, and where their
scores lie, against what the good test images gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from flows.inbox.rows import backwards
from nand_core.operating import threshold

RECENT = 200
"""Most images that are looked back upon."""

LEVEL = 0.95
"""Of both intervals. They have to lie apart, so chance alone is blamed far less often than once in twenty looks."""

RANGE = 0.1
"""The scores of good images have their range between the outer tenths: half of the recent ones never lie beyond."""

LEAST_GOOD, LEAST_RECENT = 10, 20
"""Test and recent images below which chance brings half of the recent ones out of that range."""


@dataclass(frozen=True)
class Drift:
    """A line that counts, and a line for each thing that is other than it was; all without the class."""

    counted: str
    warnings: tuple[str, ...] = ()


def recent(folder: Path, detector: str, limit: float, normalities: Sequence[str]) -> list[float]:
    """``score_after`` of a class's newest rows, at most ``RECENT``, the newest first.

    Back to the first row of another detector, ``threshold_after`` or set of normalities: what came before was judged
    otherwise.

    Raises
    ------
    NandError
        When a part is not readable.
    """
    held = detector, limit, sorted(normalities)
    rows = backwards(folder, ["detector", "threshold_after", "normalities", "score_after"])
    same = takewhile(lambda row: (row["detector"], row["threshold_after"], sorted(row["normalities"])) == held, rows)
    return [row["score_after"] for row in islice(same, RECENT)]


def interval(count: int, of: int) -> tuple[float, float]:
    """Between which shares ``count`` of ``of`` images leave little doubt (Clopper-Pearson, ``LEVEL``), in 0 to 1."""
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(LEVEL, "exact")
    return float(found.low), float(found.high)


def drift(scores: ArrayLike, good: ArrayLike, limit: float, chosen: float | None) -> Drift:
    """What recent images say against good test images.

    The share of alarms is other than it was where its interval lies apart from that of the good test images, and
    from the chosen rate. The second interval matters with few test images: a threshold that 20 of them set for 5 %
    may well give 15 %.

    Args:
        scores: (m,) of recent images, all judged alike; m >= 1.
        good: (n,) of good test images with the same normalities; without any nothing is compared.
        limit: scores above raise an alarm.
        chosen: the share of good images that the threshold was set for, 0 to 1; None: it is fixed, and what the
            good test images give is what is expected.
    """
    scores, good = np.asarray(scores, dtype=np.float64), np.asarray(good, dtype=np.float64)
    alarms, many = int((scores > limit).sum()), len(scores)
    low, high = interval(alarms, many)
    verb = "raises" if alarms == 1 else "raise"
    counted = f"{alarms} of the last {many} images {verb} an alarm ({_percent(low)} to {_percent(high)} %)"
    if not len(good):
        return Drift(counted)
    found = int((good > limit).sum())
    least, most = interval(found, len(good))
    if chosen is None:
        expected = found / len(good)
        counted += f", good test images gave {_percent(expected)} %"
    else:
        # Too few images cannot set a threshold for the chosen rate: theirs is 1 in n + 1.
        expected = max(chosen, 1 / (len(good) + 1))
        counted += f", good ones were to give {_percent(expected)} %"
    warnings = []
    if low > max(expected, most):
        warnings.append(
            f"{counted} ({_percent(most)} % at most, by {len(good)} test images): more defects than usual, or light, "
            "camera or material changed; look at the overlays"
        )
    if high < min(expected, least):
        warnings.append(
            f"{counted} ({_percent(least)} % at least, by {len(good)} test images): the threshold is too high for what "
            "comes now, or the camera sees less than it did; look at the images"
        )
    return Drift(counted, (*warnings, *_shifted(scores, good)))


def _shifted(scores: np.ndarray, good: np.ndarray) -> list[str]:
    """Where the middle score left the range of the good test images'."""
    if len(good) < LEAST_GOOD or len(scores) < LEAST_RECENT:
        return []
    middle, top, bottom = float(np.median(scores)), threshold(good, RANGE), -threshold(-good, RANGE)
    said = f"the middle score of the last {len(scores)} images, {middle:.3g}, lies"
    share = f"{100 * (1 - RANGE):.0f} % of the good test images'"
    if middle > top:
        why = "light, camera or material changed, or half of the images have defects; look at the overlays"
        return [f"{said} above {share} ({top:.3g}): {why}"]
    if middle < bottom:
        why = "the camera sees less than it did, or something else; look at the images"
        return [f"{said} below {share} ({bottom:.3g}): {why}"]
    return []


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.01 or share == 0 else f"{100 * share:.1g}"
