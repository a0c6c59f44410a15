"""From feature maps to PatchCore's patch embeddings, and from patch scores to maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 2**11
"""Points and rows whose distances are looked at at once: 16 MB, and neither is packed for a product too often."""


def pooled_patches(features: Sequence[Tensor], dimensions: int) -> Tensor:
    """The published embedding: 3x3 neighbourhoods kept whole, averaged down to ``dimensions``.

    Args:
        features: (N, C_l, h_l, w_l) a layer; all are brought to the first one's grid.

    Returns:
        (N, h, w, dimensions), a position's values averaged first within each layer, then over the layers.
    """
    n, _, h, w = features[0].shape
    layers = []
    for feature in features:
        patches = torch.unflatten(F.unfold(feature, kernel_size=3, padding=1), 2, feature.shape[-2:])
        patches = _aligned(patches, (h, w)).movedim(1, -1).flatten(0, 2)
        layers.append(F.adaptive_avg_pool1d(patches[:, None], dimensions)[:, 0])
    stacked = torch.stack(layers, dim=1).flatten(1)
    return F.adaptive_avg_pool1d(stacked[:, None], dimensions).view(n, h, w, dimensions)


def joined_patches(features: Sequence[Tensor]) -> Tensor:
    """anomalib's embedding: 3x3 neighbourhoods averaged, the layers' channels side by side.

    Returns:
        (N, h, w, sum of C_l) on the first layer's grid.
    """
    size = features[0].shape[-2:]
    return torch.cat([_aligned(F.avg_pool2d(x, 3, 1, 1), size) for x in features], dim=1).movedim(1, -1)


class Bank:
    """Rows (m, d) among which nearest neighbours are looked for again and again.

    Attributes:
        rows: as given.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        # A matrix product cancels digits where vectors are long beside their distances: take away what all share.
        self._centre = rows.mean(dim=0)
        self._centred = rows - self._centre
        self._halves = self._centred.square().sum(dim=1) / 2

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Exact nearest neighbour of each point (n, d): L2 distance (n,) and row (n,)."""
        nearest = torch.cat([self._nearest_row(part - self._centre) for part in torch.split(points, _SIDE)])
        # Measured again, as a difference.
        return (points - self.rows.index_select(0, nearest)).norm(dim=1), nearest

    def _nearest_row(self, points: Tensor) -> Tensor:
        """Of each of a few centred points (n, d), (n,)."""
        # |p - b|^2 / 2 = |b|^2 / 2 - p b + what all rows have in common; squares rank as distances do.
        blocks = zip(torch.split(self._centred, _SIDE), torch.split(self._halves, _SIDE), strict=True)
        found = [torch.addmm(halves, points, rows.T, alpha=-1).min(dim=1) for rows, halves in blocks]
        block = torch.stack([one.values for one in found]).argmin(dim=0)
        place = torch.stack([one.indices for one in found]).gather(0, block[None])[0]
        return _SIDE * block + place


def nearest_neighbours(points: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """:meth:`Bank.nearest` of points (n, d) in a bank (m, d) that is asked once."""
    return Bank(bank).nearest(points)


def reweighted_score(
    distances: Tensor, nearest: Tensor, points: Tensor, bank: Tensor, neighbours: int = 9
) -> Tensor:
    """Equation 7 of the paper as anomalib computes it, for one image.

    Args:
        distances, nearest: (p,) of the image's patches.
        points: (p, d) their embeddings.

    Returns:
        The largest distance, weighted down where the bank is sparse around its neighbour.
    """
    worst = distances.argmax()
    support = (
        torch.cdist(bank[nearest[worst]][None], bank)[0]
        .topk(min(neighbours, len(bank)), largest=False)
        .indices
    )
    away = (points[worst] - bank[support]).norm(dim=1)
    weight: Tensor = 1 - away.softmax(dim=0)[0]
    return weight * distances[worst]


def upsample(maps: Tensor, size: int, mode: Literal["bilinear", "nearest"]) -> Tensor:
    """(N, h, w) -> (N, size, size)."""
    aligned = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(maps[:, None], size=(size, size), mode=mode, **aligned)[:, 0]


def gaussian_blur(maps: Tensor, sigma: float, repeat_edge: bool) -> Tensor:
    """(N, H, W) blurred, cut at 4 sigma; beyond the border the map is mirrored, with or without its edge."""
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return maps
    offsets = torch.arange(-radius, radius + 1, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    for axis in (-2, -1):
        rows = maps.movedim(axis, -1)
        padded = rows.index_select(-1, _mirror(rows.shape[-1], radius, repeat_edge).to(maps.device))
        blurred = F.conv1d(padded.flatten(0, -2)[:, None], kernel)[:, 0]
        maps = blurred.view(rows.shape).movedim(-1, axis)
    return maps.contiguous()


def paste_centre(maps: Tensor, size: int) -> Tensor:
    """Put maps (N, c, c) of a centre crop back into the frame (N, size, size); zero, no anomaly, outside."""
    before = round((size - maps.shape[-1]) / 2)
    after = size - maps.shape[-1] - before
    return F.pad(maps, (before, after, before, after))


def _aligned(feature: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(feature.shape[-2:]) == tuple(size):
        return feature
    return F.interpolate(feature, size=tuple(size), mode="bilinear", align_corners=False)


def _mirror(length: int, radius: int, repeat_edge: bool) -> Tensor:
    """Indices of a row extended by ``radius`` on both sides."""
    index = torch.arange(-radius, length + radius)
    if repeat_edge:
        index = index.remainder(2 * length)
        return torch.where(index < length, index, 2 * length - 1 - index)
    period = max(2 * length - 2, 1)
    index = index.remainder(period)
    return torch.where(index < length, index, period - index)
