"""What the image tower gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """The encoding of N images.

    Attributes:
        layers: per chosen block (N, C_l, h_l, w_l) float32, the raw residual stream without the class token.
        pooled: (N, E) float32, unit image embeddings.
    """

    layers: tuple[Tensor, ...]
    pooled: Tensor
