"""What a layer's patches mean: small networks from patch tokens into the space of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nand_core.errors import NandError
from nand_core.vlm.weights import load_tensors

HIDDEN = (384, 384)


def surroundings(tokens: Tensor) -> Tensor:
    """What a head sees of a patch: the average over its 3x3 neighbourhood, zeros around the image.

    (N, h, w, C) -> (N, h, w, C).
    """
    return F.avg_pool2d(tokens.movedim(-1, 1), 3, 1, 1).movedim(1, -1)


class PatchHead(nn.Module):
    """Patch features, averaged over their 3x3 neighbourhood, into the joint space.

    Args:
        width: C of the features.
        hidden: widths of the layers between.
        embed_dim: E of the joint space.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, width: int, hidden: Sequence[int], embed_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [width, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], embed_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, h, w, C) -> (N, h, w, E), not normalised."""
        return self.embed(surroundings(tokens))

    def embed(self, seen: Tensor) -> Tensor:
        """What :func:`surroundings` gave (..., C) -> (..., E)."""
        joint: Tensor = self.layers((seen - self.centre) / self.scale)
        return joint


def load_heads(path: Path, widths: Sequence[int], embed_dim: int) -> nn.ModuleList:
    """One head a layer from safetensors, as :func:`stored` named their tensors.

    Args:
        widths: C of the layers.

    Raises:
        NandError: the file holds heads of another encoder, or none.
    """
    heads = nn.ModuleList(PatchHead(width, HIDDEN, embed_dim) for width in widths)
    try:
        heads.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        raise NandError(f"{path}: not heads for this encoder ({' '.join(str(error).split())[:200]})") from error
    return heads.eval().requires_grad_(False)


def stored(heads: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The tensors of one head a layer, float16: half of the bytes for differences that no score shows."""
    return {name: value.half().contiguous() for name, value in nn.ModuleList(heads).state_dict().items()}
