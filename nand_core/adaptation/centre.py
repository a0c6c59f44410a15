"""What a class's good patches have in common, whatever they show: it says nothing of what is unusual in an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def mean_directions(encodings: Iterable[Sequence[Tensor]], linear: Sequence[nn.Module], embed_dim: int) -> list[Tensor]:
    """The mean of the good patches' unit vectors in the space of the texts, (E,) float64 a layer; 0 without any.

    Args:
        encodings: of a few images at a time the patch tokens that texts are asked of, (N, C_l, h_l, w_l) a layer.
        linear: a layer C_l -> E each.
        embed_dim: E.
    """
    sums, counts = [torch.zeros(embed_dim, dtype=torch.float64) for _ in linear], [0] * len(linear)
    for layers in encodings:
        for number, (tokens, project) in enumerate(zip(layers, linear, strict=True)):
            joint = F.normalize(project(tokens.movedim(1, -1)), dim=-1).flatten(0, 2)
            sums[number] += joint.double().sum(dim=0).cpu()
            counts[number] += len(joint)
    return [found / max(count, 1) for found, count in zip(sums, counts, strict=True)]


def shift(mean: Tensor, normal: Tensor, share: float) -> Tensor:
    """What is subtracted from a unit patch vector, (E,) float32: share · (m − (m · n) n).

    What patches have in common with the text of plain normality stays: that good parts look normal is no accident.

    Args:
        mean: m (E,), the mean of good patches' unit vectors.
        normal: n (E,), the unit text feature of plain normality.
        share: in [0, 1).
    """
    normal = normal.to(mean)
    return (share * (mean - (mean @ normal) * normal)).float()
