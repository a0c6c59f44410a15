"""What detectors that compare patches share: feature maps of a batch, and anomaly maps from patch distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nand_core.detectors.backbones import Backbone, load_backbone
from nand_core.detectors.base import Context, ImageBatch
from nand_core.detectors.patches import gaussian_blur, paste_centre, upsample
from nand_core.detectors.settings import PatchSettings
from nand_core.errors import NandError
from nand_core.settings import MAP_SIZE
from nand_core.view import View
from nand_core.vlm.device import pick_device


class PatchFeatures:
    """Feature maps of the shared encoder's blocks, or of a backbone of its own, which is loaded on first use.

    Attributes:
        needs: what a detector that uses them takes from outside.
        device: where the detector computes.
    """

    def __init__(self, settings: PatchSettings, context: Context) -> None:
        shared = settings.backbone == "encoder"
        self.needs = frozenset(["features", *(["vlm"] if settings.layers else [])] if shared else [])
        self.device = pick_device(settings.device)
        self._settings = settings
        self._context = context
        self._backbone: Backbone | None = None

    def __call__(self, batch: ImageBatch) -> list[Tensor]:
        """One (n, C_l, h_l, w_l) float32 a layer.

        Raises:
            NandError: the backbone cannot be loaded, or the encoder does not give a block that the settings name.
        """
        if self._settings.backbone == "encoder":
            return self._encoder_blocks(batch)
        backbone = self._own()
        return backbone(torch.stack([backbone.preprocess(image) for image in batch.images()]))

    def view(self) -> View | None:
        """What the backbone sees of an image; None for the shared encoder."""
        return None if self._settings.backbone == "encoder" else self._own().view

    def _own(self) -> Backbone:
        if self._backbone is None:
            self._backbone = load_backbone(self._settings, self.device, self._context.files)
        return self._backbone

    def _encoder_blocks(self, batch: ImageBatch) -> list[Tensor]:
        features = batch.features().layers
        if self._settings.layers is None:
            return list(features[:-1] or features)
        return [features[position] for position in chosen_blocks(self._settings, self._context.vlm().layers)]


def chosen_blocks(settings: PatchSettings, numbers: Sequence[int]) -> list[int]:
    """Which of the encoder's blocks, by their place among ``numbers``, the settings choose; none without ``layers``.

    Raises:
        NandError: the encoder does not give one of them.
    """
    unknown = [layer for layer in settings.layers or () if layer not in numbers]
    if unknown:
        raise NandError(f"{settings.kind}.layers: {unknown} not among the encoder's blocks {list(numbers)}")
    return [list(numbers).index(int(layer)) for layer in settings.layers or ()]


def image_maps(distances: Tensor, settings: PatchSettings, variant: Literal["published", "anomalib"]) -> Tensor:
    """Patch distances (n, h, w) >= 0 -> anomaly maps (n, S, S) >= 0 in the frame of the whole image.

    S is 256 for the shared encoder, else ``resize``; up-sampled and smoothed as the variant of PatchCore does it.
    """
    published, shared = variant == "published", settings.backbone == "encoder"
    frame = MAP_SIZE if shared else settings.resize
    size = MAP_SIZE if shared else settings.crop or settings.resize
    maps = upsample(distances, size, "bilinear" if published else "nearest")
    # The blur's weights sum to 1 up to rounding; a distance is never below 0.
    maps = gaussian_blur(maps, settings.sigma, repeat_edge=published).clamp(min=0)
    return paste_centre(maps, frame)
