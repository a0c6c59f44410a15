"""APRIL-GAN without training on the class (arXiv 2305.17382): patch tokens asked about normal and abnormal."""

from __future__ import annotations

import torch
from torch import Tensor

from nand_core.detectors.base import Context, ImageBatch, Untrained
from nand_core.detectors.settings import AprilGanSettings
from nand_core.normality import image_score, resize_maps, text_map
from nand_core.vlm.features import ImageFeatures


class AprilGan(Untrained):
    """Probability of the abnormal text at every position, over the encoder's layers."""

    needs = frozenset({"features", "text", "vlm", "heads"})

    def __init__(self, settings: AprilGanSettings, context: Context) -> None:
        self._settings = settings
        self._context = context

    @torch.no_grad()
    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, S, S) float32, higher is more abnormal; S = 256 where the class token gives the score.

        Raises:
            NandError: the encoder has no linear layers.
        """
        vlm, features = self._context.vlm(), batch.features()
        layers = [layer.to(vlm.device) for layer in features.asked]
        text = self._text().flip(0).to(vlm.device)
        size = self._settings.size or vlm.image_size
        maps = text_map(layers, vlm.linear, text, vlm.logit_scale, self._settings.combine, size).cpu()
        if self._settings.score == "class_token":
            maps = resize_maps(maps)  # in their final size: resizing would move the maximum again
            peaks = image_score(maps).clamp(min=torch.finfo(maps.dtype).tiny)
            maps = maps * (self._class_token(features) / peaks)[:, None, None]
        return maps

    def view(self) -> None:
        """It looks at the encoding alone."""

    def image_scores(self, batch: ImageBatch) -> Tensor:
        """(n,) float32, the published program's image scores: the class token's probability of the abnormal text."""
        return self._class_token(batch.features())

    def _class_token(self, features: ImageFeatures) -> Tensor:
        logits = self._context.vlm().logit_scale * features.pooled.cpu() @ self._text().T
        return logits.softmax(dim=-1)[:, 1]

    def _text(self) -> Tensor:
        """(2, E) on CPU: normal, abnormal."""
        return torch.stack([feature.cpu() for feature in self._context.text()])
