"""One word for what a normality does to one detector's images of one class: the rule, in one place.

What counts is what is decided: which images of the added group pass now, and which other defects no longer raise an
alarm. Both are counted on a finite number of images, so a share is taken with its interval.

- ``harms``: of the other anomalies more than ``lost_alarms`` lost their alarm, by the lower end of the interval.
- ``works``: at least ``PASS`` percent of the group pass, more than before by the lower end of the interval, and more
  than with the best wrong text.
- ``helps``: as that, but fewer than ``PASS`` percent pass.
- ``no effect``: nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

from scipy.stats import binomtest

Verdict = Literal["works", "helps", "no effect", "harms"]
NO_EFFECT: Verdict = "no effect"
VERDICTS: tuple[str, ...] = get_args(Verdict)
PASS = 80.0
"""Percent of a group's images that have to pass for a normality to work."""


def least(found: int, of: int, level: float) -> float:
    """The lower end of Wilson's interval of a share, in percent; ``level`` of both ends in percent. 0 of nothing."""
    if not of:
        return 0.0
    return 100.0 * float(binomtest(found, of).proportion_ci(level / 100, method="wilson").low)


def verdict(
    accepted: tuple[int, int, int],
    accepted_wrong: float,
    lost: tuple[int, int],
    *,
    lost_alarms: float,
    level: float,
) -> Verdict:
    """The verdict.

    Args:
        accepted: images of the added group that pass before and after, and how many there are.
        accepted_wrong: percent of them that pass with the best wrong text in its place; nan where none was asked.
        lost: other anomalies with an alarm before and none after, and how many other anomalies there are.
        lost_alarms: share of the latter that may lose its alarm, 0 to 1.
        level: of the intervals, in percent.
    """
    if least(*lost, level) > 100 * lost_alarms:
        return "harms"
    before, after, images = accepted
    if not images:
        return "no effect"
    share = 100 * after / images
    gained = after > before and least(after, images, level) > 100 * before / images
    if not gained or (not math.isnan(accepted_wrong) and share <= accepted_wrong):
        return "no effect"
    return "works" if share >= PASS else "helps"


def counted(verdicts: Iterable[str]) -> dict[str, int]:
    """How many of each, the best first."""
    found = list(verdicts)
    return {name: found.count(name) for name in VERDICTS}


def in_words(counts: dict[str, int]) -> str:
    """``18 works, 2 no effect``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
