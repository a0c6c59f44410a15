"""Greedy k-centre selection of a memory bank (PatchCore, arXiv 2106.08265, algorithm 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dense_projection(width: int, target: int, generator: torch.Generator) -> Tensor:
    """(target, width): a random linear layer, as the published sampler makes it."""
    return (torch.rand(target, width, generator=generator) * 2 - 1) / math.sqrt(width)


def sparse_projection(width: int, points: int, generator: torch.Generator, eps: float = 0.9) -> Tensor:
    """(target, width): sparse Johnson-Lindenstrauss projection that keeps the distances of so many points."""
    target = int(4 * math.log(points) / (eps**2 / 2 - eps**3 / 3))
    density = 1 / math.sqrt(width)
    draw = torch.rand(target, width, generator=generator)
    return ((draw < density / 2).float() - (draw > 1 - density / 2).float()) / math.sqrt(density * target)


def start_from_mean(points: Tensor, starts: Tensor) -> Tensor:
    """(n,) initial distances: each point's mean distance to the points ``starts`` (k,)."""
    return torch.cdist(points[starts], points).mean(dim=0)


def start_from_point(count: int, start: int, device: torch.device) -> Tensor:
    """(n,) initial distances that make ``start`` the first choice and have no say afterwards."""
    distances = torch.full((count,), 1e18, device=device)
    distances[start] = torch.inf
    return distances


def greedy_coreset(points: Tensor, count: int, distances: Tensor) -> Tensor:
    """Choose ``count`` points, each the farthest from those chosen before.

    Args:
        points: (n, d) float32.
        count: how many to choose, at most n.
        distances: (n,) the distances that the first choice is made by.

    Returns:
        (count,) int64 row numbers in the order of choice; equal distances go to the lower row.
    """
    device, points = points.device, points - points.mean(dim=0)
    # Squared distances to c are one product, (-2c, |c|^2, 1) by the columns (x, 1, |x|^2): one pass over the points
    # for each choice, and squares rank alike.
    squares = points.square().sum(dim=1)
    columns = torch.cat([points.T, torch.ones_like(squares)[None], squares[None]])
    del points
    nearest = distances.square()
    chosen = torch.empty(count, dtype=torch.long, device=device)
    for i in range(count):
        index = nearest.argmax().view(1)
        chosen[i] = index
        column = columns.index_select(1, index).T  # not kept for all points: that would be as much memory again
        query = torch.cat([-2 * column[:, :-2], column[:, -1:], column[:, -2:-1]], dim=1)
        torch.minimum(nearest, (query @ columns)[0], out=nearest)
        nearest.index_fill_(0, index, -1)
    return chosen
