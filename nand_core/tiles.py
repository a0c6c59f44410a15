"""Large images as overlapping tiles: each is looked at as an image is, and their maps become one of the image.

Where tiles overlap the largest value holds, and so it does where several values of a map fall onto one pixel of the
image's. So an image's score is that of its worst tile, and what lies on a seam is judged by the tile that sees it best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nand_core.normality import resize_maps
from nand_core.settings import MAP_SIZE
from nand_core.vlm.settings import TileSettings

AT_ONCE = 16
"""Tiles of an image that are in memory together with what is made of them."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Grid:
    """Where the tiles of an image lie.

    Attributes:
        size: width and height of the image in pixels.
        boxes: left, top, right and bottom of each, row by row.
    """

    size: tuple[int, int]
    boxes: tuple[Box, ...]

    @classmethod
    def of(cls, size: tuple[int, int], tiles: TileSettings) -> Grid:
        """The fewest tiles that cover the image and overlap enough, at even distances; one where they are no smaller.

        An image that is narrower than a tile has tiles of its own width.
        """
        across, down = (_starts(length, tiles) for length in size)
        width, height = (min(tiles.size, length) for length in size)
        return cls(size, tuple((x, y, x + width, y + height) for y in down for x in across))

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def parts(self) -> int:
        """How many times ``crops`` gives some."""
        return -(-len(self) // AT_ONCE)

    def crops(self, image: Image.Image) -> Iterator[list[Image.Image]]:
        """The tiles of an image of this size, ``AT_ONCE`` at a time."""
        for start in range(0, len(self), AT_ONCE):
            yield [image.crop(box) for box in self.boxes[start : start + AT_ONCE]]


class Canvas:
    """The map of an image, of those of its tiles."""

    def __init__(self, grid: Grid) -> None:
        # By NumPy: on parts of this size torch's threads cost more than they bring.
        self._grid, self._done, self._map = grid, 0, np.zeros((MAP_SIZE, MAP_SIZE), np.float32)

    @property
    def map(self) -> Tensor:
        """(256, 256) float32, so far; 0 where no tile has been yet."""
        return torch.from_numpy(self._map)

    def add(self, maps: Tensor) -> None:
        """Maps (n, h, w) float32 >= 0 of the next n tiles, each in the frame of its tile."""
        if len(self._grid) == 1:  # as without tiles
            self._map = resize_maps(maps)[0].numpy()
            return
        boxes = self._grid.boxes[self._done : self._done + len(maps)]
        self._done += len(boxes)
        for one, (left, top, right, bottom) in zip(maps.numpy(), boxes, strict=True):
            rows, below = _covered(top, bottom, self._grid.size[1], one.shape[0])
            columns, beside = _covered(left, right, self._grid.size[0], one.shape[1])
            part = self._map[rows, columns]
            np.maximum(part, one[below].max(axis=1)[:, beside].max(axis=2), out=part)


def joined(grid: Grid, parts: Iterable[Tensor]) -> Tensor:
    """(1, 256, 256) of the maps of an image's tiles, which come a few at a time."""
    canvas = Canvas(grid)
    for maps in parts:
        canvas.add(maps)
    return canvas.map[None]


def _starts(length: int, tiles: TileSettings) -> list[int]:
    if length <= tiles.size:
        return [0]
    last = math.ceil((length - tiles.size) / (tiles.size - tiles.overlap))
    return [round(i * (length - tiles.size) / last) for i in range(last + 1)]


@lru_cache(maxsize=4096)
def _covered(start: int, stop: int, length: int, count: int) -> tuple[slice, NDArray[np.int_]]:
    """Along a side of ``length`` pixels, of which a tile covers ``start`` to ``stop`` in ``count`` values.

    Returns:
        The image's map's pixels that the tile touches, and for each the values that lie in it, (pixels, k): some stand
        there several times.
    """
    first, last = start * MAP_SIZE // length, -(-stop * MAP_SIZE // length)
    edges = np.arange(first, last + 1) * length / MAP_SIZE
    at = (edges.clip(start, stop) - start) * (count / (stop - start))
    # Borders that meet up to rounding have nothing in common.
    begin = np.floor(at[:-1] + 1e-6).astype(int).clip(0, count - 1)
    end = np.maximum(np.ceil(at[1:] - 1e-6).astype(int).clip(max=count), begin + 1)
    return slice(first, last), np.minimum(begin[:, None] + np.arange((end - begin).max()), end[:, None] - 1)
