"""Whether an exported model is the pipeline: on every test image, the same maps, scores and alarms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nand_core.artifacts.maps import MapFile
from nand_core.datasets.images import read_image
from nand_core.errors import NandError
from nand_runtime import Inspector, Judged

TOLERANCE = 1e-4
"""Largest difference of a map or score, as a share of the largest value of the map."""


@dataclass(frozen=True)
class Results:
    """What the pipeline found of one class's test images by one detector.

    Attributes:
        maps: of the detector.
        after: (n,) scores with the normalities; nan for images that were not judged, as they are examples.
        thresholds: before and after the normalities.
    """

    maps: MapFile
    after: NDArray[np.float64]
    thresholds: tuple[float, float]

    @classmethod
    def read(cls, base: Path, effect: pd.DataFrame, thresholds: tuple[float, float]) -> Results:
        """Of a file of maps and the rows of ``results/normalities.parquet``; none without a normality."""
        maps = MapFile(base)
        if effect.empty:
            return cls(maps, np.array([one.max() for one in _each(maps)], dtype=np.float64), thresholds)
        return cls(maps, effect.set_index("id")["score_after"].reindex(list(maps.ids)).to_numpy(), thresholds)

    def limits(self) -> tuple[float, float]:
        """The thresholds as a model takes them: :func:`apart` from the scores that are known."""
        before, after = self.thresholds
        return apart(before, [float(one.max()) for one in _each(self.maps)]), apart(after, self.after.tolist())

    def difference(self, inspector: Inspector, root: Path, bits: int | None) -> float:
        """The largest difference of a model from them, as a share of a map's largest value.

        Raises
        ------
        NandError
            When it is above ``TOLERANCE``, or an image's alarm is another one; names the image.
        """
        worst = 0.0
        for path, base, after in zip(self.maps.ids, _each(self.maps), self.after.tolist(), strict=True):
            found = inspector(read_image(root / path, bits=bits))
            most = max(float(base.max()), float(np.finfo(np.float32).tiny))
            off = float(np.abs(found.map_before - base).max()), abs(found.score_after - after)
            worst = max(worst, *(one / most for one in off if not math.isnan(one)))
            if worst > TOLERANCE:
                raise NandError(
                    f"{path}: the model's map or score is {worst:.1e} of the map's maximum off the results; have the "
                    "images changed, or was it bf16 on a GPU? set encoder.precision: fp32 and run 'nand repro'"
                )
            self._check_alarms(path, found, (float(base.max()), after))
        return worst

    def _check_alarms(self, path: str, found: Judged, scores: tuple[float, float]) -> None:
        alarms = found.alarm_before, found.alarm_after
        for alarm, score, limit in zip(alarms, scores, self.thresholds, strict=True):
            if not math.isnan(score) and alarm != (score > limit):
                raise NandError(f"{path}: the score {score:.8g} is too near the threshold {limit:.8g} for its alarm")


def apart(limit: float, scores: Iterable[float]) -> float:
    """A little above ``limit``, and below the next of the ``scores``.

    A threshold is the score of a good image, which raises no alarm, whichever way another program rounds it.
    """
    following = min((score for score in scores if score > limit), default=math.inf)
    return min(limit + TOLERANCE * abs(limit), (limit + following) / 2)


def _each(maps: MapFile) -> Iterator[NDArray[np.float32]]:
    return (maps[position] for position in range(len(maps)))
