"""What suppression maps leave of an anomaly map: Eq. 6, or a decision about each unusual region as a whole.

Eq. 6 takes a share of every pixel. A spot on which the normality is seen with a certainty of 3/4 keeps a quarter of its
score, its rim often more, and both can lie far above every good image; where next to nothing of it is seen, a small
share of a large score is lost all the same. So a region - what hangs together above the *good level*, the score of an
ordinary good image - is judged as one thing: what the suppression map says of it, most where the anomaly is strongest,
decides which share of the way to the good level all of it falls. Nothing falls below it or is touched elsewhere.

What a map says of a region means little by itself: a text that fits no defect is seen a little in all of them. So it
stands beside what the class's other texts say of the same region, and counts for less where one of them says more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from nand_core.normality import suppress, union
from nand_core.regions import Array, largest, maxima, quotient, regions, replaced, sums, taken, values_at
from nand_core.settings import RegionSettings, Rule, Settings


def good_level(good: ArrayLike) -> float | None:
    """The median of good images' scores (n,), before any suppression; None without images."""
    scores = np.asarray(good, dtype=np.float64)
    return float(np.median(scores)) if len(scores) else None


@dataclass(frozen=True)
class Claim:
    """What is seen of one normality in N images: A_sup, and the A_sup of each text that competes with it.

    All (N, H, W) float32 in [0, 1]. ``strength``, over 0 to 1: the share of it that is believed.
    """

    suppression: Tensor
    rivals: tuple[Tensor, ...] = ()
    strength: float = 1.0

    def weighed(self, values: Array) -> Array:
        """A share that it claims, by its strength."""
        return values if self.strength == 1 else self.strength * values


class Claimed(Settings):
    """A claim whose maps lie in files, by their sha256."""

    suppression: str
    rivals: tuple[str, ...] = ()
    strength: float = 1.0

    def of(self, maps: Mapping[str, Tensor]) -> Claim:
        """The claim, of maps by sha256."""
        return Claim(maps[self.suppression], tuple(maps[one] for one in self.rivals), self.strength)


def final_maps(anomaly: Tensor, claims: Sequence[Claim], rule: Rule) -> Tensor:
    """A_final of maps A >= 0 (N, H, W) float32 and of what is claimed to be normal in them; as :class:`Decision`."""
    return Decision(anomaly, rule).final_maps(claims)


class Decision:
    """Maps A >= 0 (N, H, W) float32 and their unusual regions, found once, to be asked about many normalities.

    Without ``rule.regions``, or where no good level is known, there are no regions, and Eq. 6 holds.
    """

    def __init__(self, anomaly: Tensor, rule: Rule) -> None:
        self.anomaly, self.rule = anomaly, rule
        self._regions = None
        if rule.regional and rule.level is not None:
            self._regions = Regions(anomaly, rule.level)

    def final_maps(self, claims: Sequence[Claim]) -> Tensor:
        """A_final (N, H, W): with several claims a region falls as far as the one that says most of it makes it.

        Never above A; with alpha 0 or without any suppression it is A bit for bit.
        """
        if self._regions is None or self.rule.regions is None:
            return suppress(self.anomaly, union([one.weighed(one.suppression) for one in claims]), self.rule.alpha)
        share = largest([one.weighed(_share(self._regions, one, self.rule.regions)) for one in claims])
        return self._regions.lowered(self.rule.alpha * share)


class Regions:
    """What hangs together above ``level`` in maps (N, H, W) float32, counted from 1 over all of them."""

    def __init__(self, maps: Tensor, level: float) -> None:
        self.maps, self.level = maps, level
        self.inside, self.of, self.count = regions(maps, level)
        self.excess = values_at(maps, self.inside) - level
        self.weight = sums(self.excess**2, self.of, self.count)
        self._votes: dict[int, tuple[Tensor, Array]] = {}

    def votes(self, suppression: Tensor) -> Array:
        """Of A_sup in each region, (count + 1,): half its mean, by the square of the excess, and half its maximum."""
        # A map is asked about for each text that it competes with; kept, so that no other takes its identity.
        kept = self._votes.get(id(suppression))
        if kept is None:
            seen = values_at(suppression, self.inside)
            found = sums(self.excess**2 * seen, self.of, self.count)
            mean = quotient(found, self.weight, self.weight > 0, 0.0)
            kept = self._votes[id(suppression)] = suppression, (mean + maxima(seen, self.of, self.count)) / 2
        return kept[1]

    def lowered(self, share: Array) -> Tensor:
        """The maps with each region lowered by its share (count + 1,) of the way to the level."""
        # Not as a difference in float32: what falls to the level has to tie there.
        return replaced(self.maps, self.inside, self.level + (1 - taken(share, self.of)) * self.excess)


def _share(found: Regions, claim: Claim, settings: RegionSettings) -> Array:
    """Which share of the way to the level each region falls, (count + 1,) in [0, 1]."""
    votes, whole = found.votes(claim.suppression), settings.alone
    if claim.rivals:
        other = largest([found.votes(one) for one in claim.rivals])
        behind = quotient(votes, other, other > votes, 1.0)
        votes, whole = votes * behind**2, settings.whole
    return ((votes - settings.none) / (whole - settings.none)).clip(0, 1)
