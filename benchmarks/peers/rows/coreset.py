"""The choice of a memory bank: the greedy k-centre selection beside anomalib's.

anomalib's loop makes 20 MB anew for each choice and keeps a few bytes of it. Where glibc takes both from one heap the
few bytes can end up in what the 20 MB left, which then need new room: 40 GB by the end, now and then. So both sides
have blocks of 16 MB and more from the system, as long as the process lives: this row is the last of its process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import torch
from anomalib.models.components.sampling import KCenterGreedy

from benchmarks.peers.pairs import Pair, Size
from nand_core.detectors.coreset import greedy_coreset, start_from_point

_MMAP_THRESHOLD = -3
"""Of glibc's mallopt."""


def pairs(size: Size) -> Iterator[Pair]:
    """From the same start; where two points are as far to the last digit of float32, their order is chance."""
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 16 << 20)
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
        differ = sum(a != b for a, b in zip(one, other, strict=True))
        radii = [torch.cdist(points, points[rows]).min(dim=1).values.max().item() for rows in (one, other)]
        assert differ <= chosen / 100, f"{differ} of {chosen} rows differ"
        assert abs(radii[0] - radii[1]) <= 1e-4 * radii[1], f"they cover to {radii[0]} and {radii[1]}"
        return f"{chosen - differ} of {chosen} rows the same at the same place, same radius to 1e-4"

    name = f"coreset, {count} x 256 to {chosen}"
    yield Pair(name, "anomalib's k-centre greedy", ours, theirs, check, aim=0.1, rounds=2)
