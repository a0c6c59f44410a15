"""The choice of a memory bank: the greedy k-centre selection beside anomalib's."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from anomalib.models.components.sampling import KCenterGreedy

from benchmarks.peers.pairs import Pair, Size
from nand_core.detectors.coreset import greedy_coreset, start_from_point


def pairs(size: Size) -> Iterator[Pair]:
    """The same rows in the same order, from the same start."""
    count, chosen = size.of(20_000, 1000), size.of(2000, 100)
    points = torch.randn(count, 256, generator=torch.Generator().manual_seed(0))
    # Of more than two dimensions, and so not projected: both choose from the same points.
    sampler = KCenterGreedy(points[..., None], chosen / count)

    def theirs() -> list[int]:
        torch.manual_seed(1)
        return sampler.select_coreset_idxs()

    def ours() -> list[int]:
        torch.manual_seed(1)
        start = int(torch.randint(count, (1,)))
        return greedy_coreset(points, chosen, start_from_point(count, start, points.device)).tolist()

    def check(one: list[int], other: list[int]) -> str:
        assert one == other, f"{sum(a != b for a, b in zip(one, other, strict=True))} of {chosen} rows differ"
        return "same rows, same order"

    name = f"coreset, {count} x 256 to {chosen}"
    yield Pair(name, "anomalib's k-centre greedy", ours, theirs, check, aim=0.1, rounds=2)
