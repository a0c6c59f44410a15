"""Nearest neighbours of patches in a memory bank, beside anomalib's and faiss's exact search."""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

from benchmarks.peers.pairs import Pair, Size
from nand_core.detectors.patches import Bank

Found = tuple[Tensor, Tensor]


def same_neighbours(one: Found, other: Found) -> str:
    """Distances to 1e-4 of their size, and the same rows but where two are as near."""
    torch.testing.assert_close(one[0], other[0], rtol=1e-4, atol=0)
    differ = (one[1] != other[1]).sum()
    assert differ <= len(one[1]) / 1000, f"{differ} of {len(one[1])} rows differ"
    return f"distances to 1e-4 relative, {differ} other rows"


def pairs(size: Size) -> Iterator[Pair]:
    """All patches of a batch at once. What can be prepared once for a bank is."""
    images, side, width = size.of(8, 1), 1024, 1536
    generator = torch.Generator().manual_seed(0)
    # As a network's features are: not negative, most of them small.
    rows = torch.randn(size.of(16_000, 500), width, generator=generator).relu()
    points = torch.randn(images * side, width, generator=generator).relu()
    bank = Bank(rows)

    model = PatchcoreModel(layers=("layer1",), backbone="resnet18", pre_trained=False)
    model.memory_bank = rows

    def anomalib() -> Found:
        distances, nearest = model.nearest_neighbors(points, n_neighbors=1)
        return distances, nearest

    faiss.omp_set_num_threads(size.threads)
    index = faiss.IndexFlatL2(width)
    index.add(rows.numpy())

    def flat() -> Found:
        squares, nearest = index.search(points.numpy(), 1)
        return torch.from_numpy(squares[:, 0]).sqrt(), torch.from_numpy(nearest[:, 0])

    def products() -> None:
        for part in points.split(256):
            torch.mm(part, rows.T)

    name = f"nearest neighbours, {images} x {side} x {width} in {len(rows)}"
    yield Pair(name, "anomalib's", lambda: bank.nearest(points), anomalib, same_neighbours, aim=0.67)
    yield Pair(name, "faiss, flat", lambda: bank.nearest(points), flat, same_neighbours, aim=1.11)
    yield Pair(name, "its matrix product", lambda: bank.nearest(points), products, lambda *_: "a bound")
