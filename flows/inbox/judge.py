"""Scores of new images before and after a class's normalities: what the pipeline does to its test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nand_core.asked import ClaimCanvas, Held, claims
from nand_core.decision import Claim, final_maps
from nand_core.detectors.base import Detector, ImageBatch
from nand_core.examples import Good
from nand_core.normality import image_score, resize_maps
from nand_core.settings import ExampleSettings, Rule, SuppressionSettings
from nand_core.tiles import Canvas, Grid
from nand_core.vlm.features import ImageFeatures
from nand_core.vlm.settings import TileSettings

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM


@dataclass(frozen=True)
class Verdict:
    """One image's scores, and its map A_final (256, 256) float32."""

    score_before: float
    score_after: float
    adapted: NDArray[np.float32]


@dataclass(frozen=True)
class Judge:
    """One fitted detector of a class with all normalities that the class has now.

    Attributes:
        vlm: the shared encoder, loaded on first use.
        rule: what suppression maps do to the detector's.
        threshold_before, threshold_after: scores above these raise an alarm.
        good: what the class's good images look like, where a normality has examples.
        tiles: how large images are cut; None where they are looked at as a whole.
    """

    name: str
    detector: Detector
    vlm: Callable[[], VLM]
    normalities: tuple[Held, ...]
    suppression: SuppressionSettings
    rule: Rule
    threshold_before: float
    threshold_after: float
    good: Good | None = None
    examples: ExampleSettings = field(default_factory=ExampleSettings)
    tiles: TileSettings | None = None

    def __call__(self, ids: Sequence[str], images: Sequence[Image.Image]) -> list[Verdict]:
        """The verdicts on RGB images; without normalities the scores after are those before."""
        if self.tiles is None:
            anomaly, adapted = self.maps(Batch(ids, images, self.vlm))
        else:
            found = [self._tiled(*one, self.tiles) for one in zip(ids, images, strict=True)]
            anomaly, adapted = (torch.cat(maps) for maps in zip(*found, strict=True))
        before, after = image_score(anomaly).tolist(), image_score(adapted).tolist()
        # A copy each: one map that is kept must not keep the batch.
        return [Verdict(*one) for one in zip(before, after, (one.numpy().copy() for one in adapted), strict=True)]

    def maps(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """A and A_final, each (n, 256, 256) float32; the same without normalities."""
        anomaly = resize_maps(self.detector.maps(batch))
        if not self.normalities:
            return anomaly, anomaly
        return anomaly, final_maps(anomaly, self._claims(batch), self.rule)

    def _tiled(self, image_id: str, image: Image.Image, tiles: TileSettings) -> tuple[Tensor, Tensor]:
        """A and A_final of one image, each (1, 256, 256), a few tiles at a time."""
        grid = Grid.of(image.size, tiles)
        anomaly, claimed = Canvas(grid), ClaimCanvas(grid)
        for crops in grid.crops(image):
            batch = Batch([image_id] * len(crops), crops, self.vlm)
            anomaly.add(self.detector.maps(batch))
            if self.normalities:
                claimed.add(self._claims(batch))
        found = anomaly.map[None]
        return found, final_maps(found, claimed.claims, self.rule) if self.normalities else found

    def _claims(self, batch: ImageBatch) -> list[Claim]:
        how = self.good, self.suppression, self.examples
        return claims(self.vlm(), batch.features(), self.normalities, *how)


class Batch:
    """Decoded images as detectors take them (``nand_core.detectors.base.ImageBatch``); encoded at most once."""

    def __init__(self, ids: Sequence[str], images: Sequence[Image.Image], vlm: Callable[[], VLM]) -> None:
        self.ids, self._images, self._vlm = ids, images, vlm

    def images(self) -> list[Image.Image]:
        """The RGB images."""
        return list(self._images)

    def features(self) -> ImageFeatures:
        """Their encoding by the shared encoder, on the CPU."""
        return self._features

    @cached_property
    def _features(self) -> ImageFeatures:
        vlm = self._vlm()
        found = vlm.encode_images(torch.stack([vlm.preprocess(image) for image in self._images]))
        return found.cpu()
