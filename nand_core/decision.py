"""What suppression maps leave of an anomaly map: Eq. 6, or a decision about each unusual region as a whole.

Eq. 6 takes a share of every pixel. A spot on which the normality is seen with a certainty of 3/4 keeps a quarter of its
score, its rim often more, and both can lie far above every good image; where next to nothing of it is seen, a small
share of a large score is lost all the same. So a region - what hangs together above the *good level*, the score of an
ordinary good image - is judged as one thing: what the suppression map says of it, most where the anomaly is strongest,
decides which share of the way to the good level all of it falls. Nothing falls below it or is touched elsewhere.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import label
from torch import Tensor

from nand_core.normality import suppress
from nand_core.settings import Rule

# Neighbours within an image, none across the images of a batch.
_TOUCHING = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def good_level(good: ArrayLike) -> float | None:
    """The median of good images' scores (n,), before any suppression; None without images."""
    scores = np.asarray(good, dtype=np.float64)
    return float(np.median(scores)) if len(scores) else None


def final_maps(anomaly: Tensor, suppression: Tensor, rule: Rule) -> Tensor:
    """A_final of maps A >= 0 and A_sup in [0, 1], both (N, H, W) float32: as ``rule`` says.

    Without ``rule.regions``, or where no good level is known, that is Eq. 6. Never above ``anomaly``; with alpha 0 or
    without any suppression it is ``anomaly`` bit for bit.
    """
    if rule.regions is None or rule.level is None or not math.isfinite(rule.level):
        return suppress(anomaly, suppression, rule.alpha)
    maps = anomaly.numpy()
    regions, count = label(maps > rule.level, _TOUCHING)
    inside = np.flatnonzero(regions)
    if not len(inside):
        return anomaly.clone()
    of = regions.ravel()[inside]
    excess = maps.ravel()[inside].astype(np.float64) - rule.level
    seen = suppression.numpy().ravel()[inside].astype(np.float64)
    weight, found = (np.bincount(of, one, count + 1) for one in (excess**2, excess**2 * seen))
    most = np.zeros(count + 1)
    np.maximum.at(most, of, seen)
    votes = (np.divide(found, weight, out=np.zeros(count + 1), where=weight > 0) + most) / 2
    low, high = rule.regions.none, rule.regions.whole
    share = rule.alpha * ((votes - low) / (high - low)).clip(0, 1)
    final = maps.copy()
    # Not as a difference in float32: what falls to the level has to tie there.
    final.ravel()[inside] = rule.level + (1 - share[of]) * excess
    return torch.from_numpy(final)
