"""A sample of points that come a few at a time, in memory that does not grow with their number."""

from __future__ import annotations

import torch
from torch import Tensor


class Sample:
    """At most so many of the points that are added, each of them as likely to be kept; all while there are no more.

    Args:
        most: points kept.
        seed: of the draw.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._generator = most, torch.Generator().manual_seed(seed)
        self._rows: Tensor | None = None
        self._marks = torch.empty(0, dtype=torch.float64)

    @property
    def points(self) -> Tensor:
        """(n, d): those kept; in the order in which they came while none was left out. (0, 0) before the first."""
        return torch.empty(0, 0) if self._rows is None else self._rows[: len(self._marks)]

    def add(self, points: Tensor) -> None:
        """(n, d) more of them."""
        if self._rows is None:
            # A CPU gives memory page by page as it is written to.
            self._rows = points.new_empty(self._most, points.shape[1])
        room = self._most - len(self._marks)
        first, rest = points[:room], points[room:]
        self._rows[len(self._marks) : len(self._marks) + len(first)] = first
        # Every point draws a mark, and those with the smallest stay.
        drawn = torch.rand(len(points), generator=self._generator, dtype=torch.float64)
        self._marks = torch.cat([self._marks, drawn[: len(first)]])
        if len(rest):
            marks = torch.cat([self._marks, drawn[len(first) :]])
            stays = torch.zeros(len(marks), dtype=torch.bool)
            stays[marks.topk(self._most, largest=False).indices] = True
            leave = (~stays[: self._most]).nonzero()[:, 0]
            come = stays[self._most :].nonzero()[:, 0]
            self._rows[leave.to(self._rows.device)] = rest[come.to(rest.device)]
            self._marks[leave] = drawn[len(first) :][come]
