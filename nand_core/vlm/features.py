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
        beside: the like of a second tower, which texts are asked of; () where there is one tower.
    """

    layers: tuple[Tensor, ...]
    pooled: Tensor
    beside: tuple[Tensor, ...] = ()

    @property
    def asked(self) -> tuple[Tensor, ...]:
        """The patch tokens that texts are asked of; those of ``layers`` are what is compared."""
        return self.beside or self.layers

    def cpu(self) -> ImageFeatures:
        """The same on the CPU."""
        return ImageFeatures(
            tuple(tokens.cpu() for tokens in self.layers),
            self.pooled.cpu(),
            tuple(tokens.cpu() for tokens in self.beside),
        )
