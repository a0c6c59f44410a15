"""The joint space: fixed vectors that both towers are trained onto."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.lexicon import Lexicon

#: Factor on cosines in every softmax, in training and in use.
LOGIT_SCALE = 30.0
_ABNORMAL, _FAMILY = 0.5, 0.5


def text_targets(lexicon: Lexicon, dim: int, seed: int = 0) -> Tensor:
    """Unit vectors (labels, dim) in the order of ``lexicon.labels``.

    Normal, abnormal, every drawn type and every family have a vector each, all orthonormal. A drawn type's target is
    unit(type + 0.5 abnormal + 0.5 family), a spoken type's the unit mixture of those. Unknown is opposite to normal
    and abnormal: what means nothing must be found nowhere, and a vector merely orthogonal to all that images show
    would win a share of the softmax wherever they show something else.
    """
    # "unknown" has a place in the basis that the image towers trained so far were trained with.
    names = ["normal", "abnormal", "unknown", *lexicon.drawn, *lexicon.families]
    noise = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = dict(zip(names, torch.linalg.qr(noise)[0].T[: len(names)].float(), strict=True))
    family_of = {member: family for family, members in lexicon.families.items() for member in members}
    for name in lexicon.drawn:
        shared = _FAMILY * basis[family_of[name]] if name in family_of else 0
        basis[name] = F.normalize(basis[name] + _ABNORMAL * basis["abnormal"] + shared, dim=0)
    nothing = -F.normalize(basis["normal"] + basis["abnormal"], dim=0)
    rows = [basis["normal"], basis["abnormal"], nothing]
    for entry in lexicon.types.values():
        rows.append(F.normalize(sum(weight * basis[name] for name, weight in entry.mixture.items()), dim=0))
    return torch.stack(rows)


def image_targets(lexicon: Lexicon, types: Sequence[str], dim: int) -> Tensor:
    """Targets of image patches (1 + types + 1, dim): normal, ``types``, abnormal."""
    rows = dict(zip(lexicon.labels, text_targets(lexicon, dim), strict=True))
    return torch.stack([rows[name] for name in ("normal", *types, "abnormal")])


def siblings(lexicon: Lexicon, types: Sequence[str]) -> Tensor:
    """(types, types) bool: whether two of ``types`` are of one family."""
    family_of = {member: family for family, members in lexicon.families.items() for member in members}
    family = [family_of.get(name, name) for name in types]
    return torch.tensor([[a == b for b in family] for a in family])
