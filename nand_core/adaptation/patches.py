"""Patches to learn from: of drawn pictures as an encoder sees them, with the type of defect that each shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from nand_core.drawing.scenes import TYPES, Scene
from nand_core.vlm.heads import surroundings

IGNORED = -1
MOST = (60, 200)
"""Normal and defective patches kept of a picture at most."""
_FINE, _LEAST = 8, 6
"""Pixels of a patch's side in the labels, and how many of them a defect covers at least."""
_BATCH = 16

Encode = Callable[[Sequence[Scene]], Sequence[Tensor]]
"""Drawn pictures -> one (N, C_l, h_l, w_l) a layer."""


class Patches(NamedTuple):
    """Of one layer: features (n, 3 C) as a head sees them, float16; labels (n,), 0 normal, k for ``TYPES[k - 1]``;
    and the area (n,) in patches of the defects that they belong to, 0 for normal ones.
    """

    features: Tensor
    labels: Tensor
    areas: Tensor

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """All patches of several sets, in order."""
        return cls(*(torch.cat(same) for same in zip(*parts, strict=True)))


def kept_patches(
    pictures: Iterable[Scene], encode: Encode, seed: int, most: tuple[int, int] = MOST
) -> list[Patches]:
    """The defective patches of drawn pictures and some of the others, layer by layer."""
    generator = torch.Generator().manual_seed(seed)
    kept: list[list[Patches]] = []
    rest = iter(pictures)
    while scenes := tuple(islice(rest, _BATCH)):
        for number, tokens in enumerate(encode(scenes)):
            if number == len(kept):
                kept.append([])
            for scene, features in zip(scenes, surroundings(tokens.movedim(1, -1).float().cpu()), strict=True):
                kept[number].append(_chosen(scene, features, generator, most))
    return [Patches.joined(parts) for parts in kept]


def _chosen(scene: Scene, features: Tensor, generator: torch.Generator, most: tuple[int, int]) -> Patches:
    """Of one picture and layer, (h, w, C)."""
    side = _FINE * len(features)
    pixels = torch.from_numpy(scene.labels)[None, None].float()
    fine = F.interpolate(pixels, size=(side, side), mode="nearest-exact")[:, 0].to(torch.uint8)
    labels = patch_labels(fine, len(TYPES), _FINE, _LEAST)[0]
    area = (labels > 0).sum()
    rows = []
    for candidates, limit in ((labels == 0, most[0]), (labels > 0, most[1])):
        found = candidates.nonzero()[:, 0]
        rows.append(found[torch.randperm(len(found), generator=generator)[:limit]])
    chosen = torch.cat(rows)
    label = labels[chosen]
    return Patches(features.flatten(0, 1)[chosen].half(), label, torch.where(label > 0, area, 0))


def patch_labels(labels: Tensor, types: int, patch: int = 8, least: int = 5) -> Tensor:
    """Label of every patch (n, patches) from pixel labels (n, S, S): the defect that covers most of it.

    A patch with fewer than ``least`` defective pixels is ``IGNORED``.
    """
    n, size, _ = labels.shape
    grid = size // patch
    tiles = (
        labels.view(n, grid, patch, grid, patch)
        .permute(0, 1, 3, 2, 4)
        .reshape(n * grid * grid, patch * patch)
        .long()
    )
    offset = torch.arange(len(tiles)).mul_(types + 1)[:, None]
    counts = torch.bincount((tiles + offset).flatten(), minlength=len(tiles) * (types + 1)).view(
        -1, types + 1
    )
    defective = patch * patch - counts[:, 0]
    label = counts[:, 1:].argmax(1) + 1
    label = torch.where(defective >= least, label, torch.where(defective == 0, 0, IGNORED))
    return label.view(n, grid * grid)


def to_tensors(layers: Sequence[Patches]) -> dict[str, Tensor]:
    """As they are stored: ``<layer>.<field>``."""
    return {f"{i}.{name}": value for i, one in enumerate(layers) for name, value in one._asdict().items()}
