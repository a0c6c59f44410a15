"""Losses on patch, window and image embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.targets import LOGIT_SCALE

_NORMAL_WEIGHT, _SIBLING_WEIGHT = 0.1, 0.3
#: A defect of k patches weighs k^(1 - 0.7), so that large areas do not drown small defects.
_LARGE = 0.7


def _focal(z: Tensor, positive: Tensor, weight: Tensor) -> Tensor:
    """Focal loss (gamma 2) of logits ``z``: weighted means over positives and over negatives, added."""
    z = torch.where(positive, z, -z)
    loss = torch.sigmoid(-z) ** 2 * F.softplus(-z)
    hit, miss = weight * positive, weight * ~positive
    return (loss * hit).sum() / hit.sum().clamp(min=1) + (loss * miss).sum() / miss.sum().clamp(min=1)


def _balance(label: Tensor, types: int) -> Tensor:
    """Weights (n, patches): 0.1 on normal patches, 1 on average on defects, less on those of large ones."""
    counts = F.one_hot(label.clamp(min=0), types + 1).sum(1).gather(1, label.clamp(min=0))
    weight = counts.float().pow(-_LARGE) * (label > 0)
    mean = weight.sum() / (label > 0).sum().clamp(min=1)
    return torch.where(label > 0, weight / (mean + 1e-6), _NORMAL_WEIGHT)


def patch_loss(patches: Tensor, label: Tensor, targets: Tensor, sibling: Tensor) -> dict[str, Tensor]:
    """Losses of normalised patch embeddings (layers, n, patches, dim).

    Args:
        label: (n, patches), 0 normal, k for type k, ``IGNORED``.
        targets: (1 + types + 1, dim): normal, types, abnormal.
        sibling: (types, types) bool, types of one family.

    Returns:
        ``classes`` class-weighted cross-entropy over {normal, types}; ``focal`` and ``dice`` abnormal against
        normal; ``pairs`` focal of each type against normal, other types counting as normal.
    """
    logits = LOGIT_SCALE * patches @ targets.T
    known = label >= 0
    abnormal = label > 0
    types = len(sibling)
    flat, y = logits[:, known], label[known]
    weight = _balance(label, types)[known]
    classes = F.cross_entropy(flat[..., :-1].flatten(0, 1), y.repeat(len(logits)), reduction="none")
    classes = (classes * weight.repeat(len(logits))).sum() / (weight.sum() * len(logits))
    z = logits[..., -1] - logits[..., 0]
    focal = _focal(z[:, known], abnormal[known].expand(len(z), -1), torch.ones(()))
    p, q = torch.sigmoid(z) * known, abnormal.float()
    dice = 1 - (2 * (p * q).sum(-1) + 1) / (p.sum(-1) + q.sum(-1) + 1)
    is_type = F.one_hot(y.clamp(min=0), types + 1)[:, 1:].bool()
    related = torch.cat([torch.zeros(1, types, dtype=torch.bool), sibling])[y] & ~is_type
    other = torch.where(related, _SIBLING_WEIGHT, 1.0) * torch.where(y > 0, 1.0, 0.05)[:, None]
    pairs = _focal(
        flat[..., 1:-1] - flat[..., :1],
        is_type.expand(len(z), -1, -1),
        torch.where(is_type, weight[:, None], other),
    )
    return {"classes": classes, "focal": focal, "dice": dice.mean(), "pairs": pairs}


def token_loss(embedding: Tensor, label: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over {normal, types} and abnormal against normal, of class embeddings (n, dim)."""
    keep = label >= 0
    if not keep.any():
        return embedding.sum() * 0
    logits = LOGIT_SCALE * F.normalize(embedding[keep].float(), dim=-1) @ targets.T
    binary = F.binary_cross_entropy_with_logits(logits[:, -1] - logits[:, 0], (label[keep] > 0).float())
    return F.cross_entropy(logits[:, :-1], label[keep]) + binary
