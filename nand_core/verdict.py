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
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Literal, get_args

Verdict = Literal["works", "helps", "no effect", "harms"]
NO_EFFECT: Verdict = "no effect"
VERDICTS: tuple[str, ...] = get_args(Verdict)
PASS = 80.0
"""Percent of a group's images that have to pass for a normality to work."""


def least(found: int, of: int, level: float) -> float:
    """The lower end of Wilson's interval of a share, in percent; ``level`` of both ends in percent. 0 of nothing."""
    # scipy.stats has it, and takes half a second to be imported: each run of a stage would wait for that.
    if not found:
        return 0.0
    z, share = NormalDist().inv_cdf(0.5 + level / 200), found / of
    spread = z * math.sqrt(share * (1 - share) / of + (z / of / 2) ** 2)
    return 100.0 * (share + z * z / of / 2 - spread) / (1 + z * z / of)


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


def keyed(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts as ``metrics.json`` has them: a name with a blank could not be asked for with ``dvc metrics``."""
    return {name.replace(" ", "_"): count for name, count in counts.items()}


def in_words(counts: Mapping[str, int]) -> str:
    """``18 works, 2 no effect``; of ``keyed`` counts as well."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"


def commonest(counts: Mapping[str, int]) -> str:
    """The most frequent verdict, of equally frequent ones the worse; "" where nothing is counted."""
    found = max(reversed(VERDICTS), key=lambda name: counts.get(name, 0))
    return found if counts.get(found) else ""
