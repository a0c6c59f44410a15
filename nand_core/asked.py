"""A normality as the encoder is asked about it: the text features of Eq. 4, and the maps that answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nand_core.normality import rivals, suppression_map
from nand_core.settings import SuppressionSettings
from nand_core.vlm.features import ImageFeatures

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Asked:
    """A text and the unit text features of its question: itself, plain normality, and what competes with it."""

    text: str
    f_add: Vector
    f_nor: Vector
    others: tuple[Vector, ...] = ()


def ask(
    text: str,
    f_add: Vector,
    f_nor: Vector,
    known: Mapping[str, Vector],
    settings: SuppressionSettings,
    *,
    group: str = "",
    apart: bool = True,
) -> Asked:
    """The question about a text of a class.

    With ``settings.competing`` the class's other known groups take part; for a text from outside the protocol
    (``apart``), those that mean something else.

    Args:
        known: unit text features of the class's labelled groups, by name.
        group: the labelled group that the text is, if any: it does not compete with itself.
    """
    others = tuple(vector for name, vector in known.items() if name != group) if settings.competing else ()
    if apart and others:
        chosen = rivals(torch.tensor(f_add), torch.tensor(f_nor), torch.tensor(others))
        others = tuple(map(tuple, chosen.tolist()))
    return Asked(text, f_add, f_nor, others)


@torch.no_grad()
def answer(vlm: VLM, features: ImageFeatures, asked: Asked, settings: SuppressionSettings) -> Tensor:
    """A_sup of the encoded images: (N, 256, 256) float32 in [0, 1], on the CPU."""
    f_add, f_nor = (torch.tensor(vector, device=vlm.device) for vector in (asked.f_add, asked.f_nor))
    others = torch.tensor(asked.others, device=vlm.device) if asked.others else None
    layers = [tokens.to(vlm.device) for tokens in features.layers]
    return suppression_map(layers, vlm.linear, f_add, f_nor, vlm.logit_scale, settings, others).cpu()
