"""The distance to a subspace, beside PatchCore's to a memory bank and beside the matrix products that it needs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.peers.pairs import Pair, Size
from nand_core.detectors.patches import Bank
from nand_core.detectors.subspace import residual_norms

WIDTH, AXES = 384, 200


def pairs(size: Size) -> Iterator[Pair]:
    """Of the patches of 16 images of ResNet-18's second and third layer."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(WIDTH, generator=generator)
    components = torch.linalg.qr(torch.randn(WIDTH, AXES, generator=generator))[0].T.contiguous()
    points = torch.randn(size.of(16, 1) * 28**2, WIDTH, generator=generator).relu()
    bank = Bank(torch.randn(size.of(15_680, 500), WIDTH, generator=generator).relu())

    def ours() -> Tensor:
        return residual_norms(points, mean, components)

    def check(found: Tensor, _: object) -> str:
        exact = residual_norms(points.double(), mean.double(), components.double())
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=0)
        return "ours to 1e-4 of float64"

    what = f"subspace, {len(points)} x {WIDTH}, {AXES} axes"
    yield Pair(what, f"our PatchCore, bank {len(bank.rows)}", ours, lambda: bank.nearest(points), check, aim=0.2)
    yield Pair(what, "its two matrix products", ours, lambda: points @ components.T @ components, check)
