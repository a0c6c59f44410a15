"""The encoding of one shard of images: computed once, asked by every detector and every normality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from nand_core.artifacts.store import Record
from nand_core.errors import NandError
from nand_core.vlm.features import ImageFeatures
from tasks.cache import Bits, Spec, item
from tasks.encoder import shared_encoder
from tasks.images import read_images
from tasks.work import Work


class EncodeSpec(Spec):
    """Images by content, and the encoder."""

    unkeyed: ClassVar = frozenset({"paths"})

    images: tuple[str, ...]
    paths: tuple[str, ...]
    encoder: dict[str, Any]
    bits: Bits = None


@item
def image_features(spec: EncodeSpec, work: Work) -> Record:
    """Patch tokens ``layer_0``.. (N, C, h, w) and ``pooled`` (N, E), float32, as npz."""
    vlm = shared_encoder(work, spec.encoder)
    images = read_images(work, spec.paths, spec.images, spec.bits)
    pixels = torch.stack([vlm.preprocess(image) for image in images])
    features = vlm.encode_images(pixels)
    arrays: dict[str, Any] = {f"layer_{i}": tokens.cpu().numpy() for i, tokens in enumerate(features.layers)}
    with work.store.writing("npz") as put:
        np.savez(put.path, pooled=features.pooled.cpu().numpy(), **arrays)
    return put.record


def read_features(path: Path) -> ImageFeatures:
    """The encoding back from its object."""
    with np.load(path, allow_pickle=False) as stored:
        layers = [torch.from_numpy(stored[f"layer_{i}"]) for i in range(len(stored.files) - 1)]
        return ImageFeatures(tuple(layers), torch.from_numpy(stored["pooled"]))


class Shard(Spec):
    """A few images of one class: their ids and content, and their encoding where it is needed."""

    ids: tuple[str, ...]
    images: tuple[str, ...]
    features: Record | None = None
    bits: Bits = None


class ShardBatch:
    """A shard as detectors take it (``nand_core.detectors.ImageBatch``)."""

    def __init__(self, shard: Shard, work: Work) -> None:
        self.ids: Sequence[str] = shard.ids
        self._shard = shard
        self._work = work

    def images(self) -> list[Image.Image]:
        """The RGB images, decoded now."""
        return list(read_images(self._work, self._shard.ids, self._shard.images, self._shard.bits))

    def features(self) -> ImageFeatures:
        """Their shared encoding, read now; NandError where the spec has none, as nobody said to need it."""
        if self._shard.features is None:
            raise NandError("the detector asks for features, but its needs do not name them")
        return read_features(self._work.store.path(self._shard.features))
