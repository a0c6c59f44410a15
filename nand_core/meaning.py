"""What a patch means: how much of it looks plainly normal, and how much like each kind of defect that has a name.

Two scratches on two parts share few features, yet both are called scratches. So what examples show is compared with an
image in the space of the texts as well, over the kinds of defect of the lexicon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nand_core.normality import layer_logits


@dataclass(frozen=True)
class Kinds:
    """What an encoder calls the kinds of defect of a class.

    Attributes:
        texts: (1 + K, E) unit text features: of plain normality, then of the kinds.
        deepest: how many of the encoder's layers are asked, from the last one on; None: all.
    """

    texts: Tensor
    deepest: int | None = None


@dataclass(frozen=True)
class Meaning:
    """Which kinds of defect the examples of a normality show.

    Attributes:
        kinds: what they are called.
        like, unlike: (n, K) the shares of the kinds in each of the examples; n may be 0.
    """

    kinds: Kinds
    like: Tensor
    unlike: Tensor


@torch.no_grad()
def meanings(
    layers: Sequence[Tensor], linear: Sequence[nn.Module], kinds: Kinds, scale: float, grid: Sequence[int]
) -> Tensor:
    """The probability of plain normality and of each kind, at every patch of a grid.

    Args:
        layers: the patch tokens that texts are asked of, (N, C_l, h_l, w_l) each.
        linear: one C_l -> E each.
        scale: the inverse softmax temperature.
        grid: h, w.

    Returns:
        (N, h, w, 1 + K) float32, the mean over the layers; they add up to 1.
    """
    asked = slice(-kinds.deepest if kinds.deepest else None, None)
    logits = layer_logits(layers[asked], linear[asked], kinds.texts.to(layers[0].device), scale)
    found = torch.stack([layer.softmax(dim=1) for layer in logits]).mean(dim=0)
    if found.shape[-2:] != tuple(grid):
        found = F.interpolate(found, size=tuple(grid), mode="bilinear", align_corners=True)
    return found.movedim(1, -1)


def described(found: Tensor, weights: Tensor) -> Tensor:
    """Which kinds patches show together, (K,) float32 that add up to 1; zeros where all weights are 0.

    Args:
        found: (..., 1 + K), what :func:`meanings` gave.
        weights: (...), >= 0.
    """
    kinds = (found[..., 1:] * weights[..., None]).flatten(0, -2).sum(dim=0)
    return kinds / kinds.sum().clamp(min=torch.finfo(kinds.dtype).tiny)


def alike(found: Tensor, kinds: Tensor) -> Tensor:
    """How much every patch shows the kinds (K,): the Bhattacharyya coefficient, (...) in [0, 1].

    Args:
        found: (..., 1 + K), what :func:`meanings` gave; how normal a patch looks has no part in it.
    """
    own = found[..., 1:]
    shares = own / own.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(own.dtype).tiny)
    return (shares.sqrt() @ kinds.sqrt()).clamp(0, 1)


def meant(likeness: Tensor, means: Tensor, meaning: Meaning, power: float) -> Tensor:
    """A_sup (N, h, w) by the kinds of defect as well: max(L s, (1 - p) s^power).

    Args:
        likeness: L (N, h, w), how much patches look like the examples.
        means: (N, h, w, 1 + K); p is the probability of plain normality, s the likeness of the kinds to those of all
            examples (:func:`alike`). Where they are more like those of what is *not* fine, the second
            term is 0.
    """
    shared = alike(means, meaning.like.mean(dim=0))
    abnormal = (1 - means[..., 0]) * shared**power
    if len(meaning.unlike):
        abnormal = torch.where(alike(means, meaning.unlike.mean(dim=0)) > shared, 0.0, abnormal)
    return torch.maximum(likeness * shared, abnormal)
