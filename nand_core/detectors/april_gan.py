"""APRIL-GAN without training on the class (arXiv 2305.17382): patch tokens asked about normal and abnormal."""

from __future__ import annotations

import torch
from torch import Tensor

from nand_core.detectors.base import Context, ImageBatch, Untrained
from nand_core.detectors.settings import AprilGanSettings
from nand_core.normality import text_map


class AprilGan(Untrained):
    """Probability of the abnormal text at every position, over the encoder's layers."""

    needs = frozenset({"features", "text", "vlm"})

    def __init__(self, settings: AprilGanSettings, context: Context) -> None:
        self._settings = settings
        self._context = context

    @torch.no_grad()
    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, S, S) float32, higher is more abnormal.

        Raises:
            NandError: the encoder has no linear layers.
        """
        vlm = self._context.vlm()
        normal, abnormal = self._context.text()
        text = torch.stack([abnormal, normal]).to(vlm.device)
        features = [layer.to(vlm.device) for layer in batch.features().layers]
        size = self._settings.size or vlm.image_size
        return text_map(features, vlm.linear, text, vlm.logit_scale, self._settings.combine, size).cpu()
