"""The choice of a memory bank: the greedy k-centre selection beside anomalib's.

``python -m benchmarks.peers.rows.coreset ours|anomalib POINTS CHOSEN THREADS`` prints, of a process of its own, the
milliseconds that a choice takes, and the rows chosen.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.peers.pairs import Pair, Size, give_memory_back, seconds
from nand_core.detectors.coreset import greedy_coreset, start_from_point

Choice = tuple[float, list[int]]


def some_points(count: int) -> Tensor:
    """What a coreset is chosen of."""
    return torch.randn(count, 256, generator=torch.Generator().manual_seed(0))


def ours(points: Tensor, chosen: int) -> Callable[[], list[int]]:
    """From the start that theirs takes."""

    def choose() -> list[int]:
        torch.manual_seed(1)
        start = int(torch.randint(len(points), (1,)))
        return greedy_coreset(points, chosen, start_from_point(len(points), start, points.device)).tolist()

    return choose


def anomalib(points: Tensor, chosen: int) -> Callable[[], list[int]]:
    """Theirs; of more than two dimensions, and so not projected: both choose from the same points."""
    from anomalib.models.components.sampling import KCenterGreedy

    sampler = KCenterGreedy(points[..., None], chosen / len(points))

    def choose() -> list[int]:
        torch.manual_seed(1)
        return sampler.select_coreset_idxs()

    return choose


def pairs(size: Size) -> Iterator[Pair]:
    """From the same start; where two points are as far to the last digit of float32, their order is chance."""
    count, chosen = size.of(20_000, 1000), size.of(2000, 100)

    def separate(side: str) -> Choice:
        command = [sys.executable, "-m", __name__, side, *map(str, (count, chosen, size.threads))]
        took, rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        return took, rows

    def check(one: Choice, other: Choice) -> str:
        points, chosen_rows = some_points(count), (one[1], other[1])
        differ = sum(a != b for a, b in zip(*chosen_rows, strict=True))
        radii = [torch.cdist(points, points[rows]).min(dim=1).values.max().item() for rows in chosen_rows]
        assert differ <= chosen / 100, f"{differ} of {chosen} rows differ"
        assert abs(radii[0] - radii[1]) <= 1e-4 * radii[1], f"they cover to {radii[0]} and {radii[1]}"
        return f"{chosen - differ} of {chosen} rows the same at the same place, same radius to 1e-4"

    yield Pair(
        f"coreset, {count} x 256 to {chosen}",
        "anomalib's k-centre greedy",
        lambda: separate("ours"),
        lambda: separate("anomalib"),
        check,
        aim=0.1,
        figure=lambda run: run()[0],
        rounds=size.of(3, 2),
        profile=ours(some_points(count), chosen),
    )


def main() -> None:
    side, count, chosen, threads = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    # anomalib's loop makes 20 MB anew for each choice and keeps a few bytes of it. With glibc's own settings that takes
    # 2 s, 16 s or all memory: the few bytes can lie in what the 20 MB left, which then need new room.
    give_memory_back()
    choose, found = {"ours": ours, "anomalib": anomalib}[side](some_points(count), chosen), []
    took = seconds(lambda: found.append(choose()))
    print(json.dumps([took, found[0]]))


if __name__ == "__main__":
    main()
