"""The joint space: fixed vectors that both towers are trained onto."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nand_core.drawing.lexicon import Lexicon

#: Factor on cosines in every softmax, in training and in use.
LOGIT_SCALE = 30.0
_ABNORMAL, _FAMILY = 0.5, 0.5


def known_targets(lexicon: Lexicon, dim: int, seed: int = 0) -> Tensor:
    """Unit vectors (labels - 1, dim) of all that has a meaning, in the order of ``lexicon.labels`` without "unknown".

    Normal, abnormal, every drawn type and every family have a vector each, all orthonormal. A drawn type's target is
    unit(type + 0.5 abnormal + 0.5 family), a spoken type's the unit mixture of those.
    """
    # "unknown" has a place in the basis that the image towers trained so far were trained with.
    names = ["normal", "abnormal", "unknown", *lexicon.drawn, *lexicon.families]
    noise = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = dict(zip(names, torch.linalg.qr(noise)[0].T[: len(names)].float(), strict=True))
    family_of = {member: family for family, members in lexicon.families.items() for member in members}
    for name in lexicon.drawn:
        shared = _FAMILY * basis[family_of[name]] if name in family_of else 0
        basis[name] = F.normalize(basis[name] + _ABNORMAL * basis["abnormal"] + shared, dim=0)
    rows = [basis["normal"], basis["abnormal"]]
    for entry in lexicon.types.values():
        rows.append(F.normalize(sum(weight * basis[name] for name, weight in entry.mixture.items()), dim=0))
    return torch.stack(rows)


def unknown_target(patches: Tensor, normal: Tensor, steps: int = 300) -> Tensor:
    """The unit vector (dim,) that no patch is like: the target of words that mean nothing.

    A text is found where its cosine exceeds that of "normal". A direction merely orthogonal to all that images show is
    found wherever a patch dislikes "normal" more, so the direction is asked of the patches themselves.

    Args:
        patches: unit embeddings (n, dim) of a trained image tower, all layers.
        normal: target of "normal" (dim,).
    """
    direction = (-F.normalize(patches.mean(0), dim=0)).requires_grad_()
    optimiser = torch.optim.Adam([direction], lr=0.01)
    for _ in range(steps):
        loss = F.softplus(LOGIT_SCALE * (patches @ (F.normalize(direction, dim=0) - normal))).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return F.normalize(direction.detach(), dim=0)


def image_targets(lexicon: Lexicon, types: Sequence[str], dim: int) -> Tensor:
    """Targets of image patches (1 + types + 1, dim): normal, ``types``, abnormal."""
    rows = dict(zip(lexicon.labels[:-1], known_targets(lexicon, dim), strict=True))
    return torch.stack([rows[name] for name in ("normal", *types, "abnormal")])


def siblings(lexicon: Lexicon, types: Sequence[str]) -> Tensor:
    """(types, types) bool: whether two of ``types`` are of one family."""
    family_of = {member: family for family, members in lexicon.families.items() for member in members}
    family = [family_of.get(name, name) for name in types]
    return torch.tensor([[a == b for b in family] for a in family])
