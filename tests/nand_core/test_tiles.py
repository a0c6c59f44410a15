"""Tiles cover an image, and of their maps one is made in which no seam shows and no peak is lost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from nand_core.asked import ClaimCanvas
from nand_core.decision import Claim
from nand_core.normality import resize_maps
from nand_core.settings import MAP_SIZE
from nand_core.tiles import Canvas, Grid, joined
from nand_core.vlm.settings import TileSettings

sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))
tilings = st.integers(100, 300).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size // 2)))


def grid_of(size: tuple[int, int], tiling: tuple[int, int]) -> Grid:
    return Grid.of(size, TileSettings(size=tiling[0], overlap=tiling[1]))


@settings(max_examples=30, deadline=None)
@given(sizes, tilings)
def test_tiles_cover_the_image_and_overlap_enough(size, tiling):
    grid, seen = grid_of(size, tiling), np.zeros(size[::-1], bool)
    for left, top, right, bottom in grid.boxes:
        assert (right - left, bottom - top) == tuple(min(tiling[0], side) for side in size)
        seen[top:bottom, left:right] = True  # a box that leaves the image would not have this shape
        assert seen[top:bottom, left:right].shape == (bottom - top, right - left)
    assert seen.all()
    for starts, length in ((sorted({box[i] for box in grid.boxes}), min(tiling[0], size[i])) for i in (0, 1)):
        assert all(length - (b - a) >= tiling[1] for a, b in pairwise(starts))


@settings(max_examples=15, deadline=None)
@given(sizes, tilings, st.integers(1, 70), st.integers(0, 2**31))
def test_a_constant_stays_constant_and_the_highest_value_is_the_images(size, tiling, side, seed):
    grid = grid_of(size, tiling)
    assert (joined(grid, [torch.full((len(grid), side, side + 1), 0.7)]) == 0.7).all()
    maps = torch.rand(len(grid), side, side + 1, generator=torch.Generator().manual_seed(seed))
    whole, expected = joined(grid, maps.split(3)), resize_maps(maps) if len(grid) == 1 else maps
    assert whole.shape == (1, MAP_SIZE, MAP_SIZE) and whole.max() == expected.max()


def test_a_value_lies_in_the_map_where_it_lies_in_the_image():
    grid = grid_of((2000, 1000), (500, 100))
    for number in range(0, len(grid), 7):
        left, top, right, bottom = grid.boxes[number]
        maps = torch.zeros(len(grid), 50, 50)
        maps[number, 20, 30] = 1
        rows, columns = (joined(grid, [maps])[0] > 0).nonzero().T
        x, y = left + (right - left) * 30.5 / 50, top + (bottom - top) * 20.5 / 50
        assert abs((rows + 0.5).mean() - y * MAP_SIZE / 1000) < 1.5
        assert abs((columns + 0.5).mean() - x * MAP_SIZE / 2000) < 1


def blurred(tile: Image.Image) -> torch.Tensor:
    """A detector that knows nothing of what lies around a tile: a mean, with black beyond the border."""
    pixels = torch.from_numpy(np.array(tile.convert("L"), np.float32))[None, None]
    return F.avg_pool2d(pixels, 15, 1, 7)[0]


@pytest.mark.parametrize(("overlap", "kept"), [(0, 0.6), (40, 0.999)], ids=["a seam shows", "no seam shows"])
def test_a_defect_scores_alike_wherever_the_seams_lie(overlap, kept):
    scores = []
    for x in range(112, 136, 5):
        pixels = np.zeros((128, 384), np.uint8)  # without an overlap a seam at 128
        pixels[60:70, x : x + 10] = 250
        image = Image.fromarray(pixels)
        grid = grid_of(image.size, (128, overlap))
        scores.append(float(joined(grid, (torch.cat(list(map(blurred, part))) for part in grid.crops(image))).max()))
    lowest = min(scores) / max(scores)
    assert lowest >= kept if overlap else lowest < kept


def test_claims_become_those_of_the_image_and_a_rival_of_two_is_one_map():
    grid = grid_of((300, 300), (200, 50))
    canvas, parts = ClaimCanvas(grid), torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for own, other, rival in zip(*(one.split(3) for one in parts), strict=True):
        canvas.add([Claim(own, (rival, other)), Claim(other, (rival,), strength=0.5)])
    one, two = canvas.claims
    assert (one.strength, two.strength) == (1, 0.5)
    assert one.rivals[0] is two.rivals[0] and one.rivals[1] is two.suppression
    for found, maps in zip((one.suppression, two.suppression, one.rivals[0]), parts, strict=True):
        assert torch.equal(found, joined(grid, [maps]))


def test_an_image_no_larger_than_a_tile_is_one():
    grid = grid_of((512, 300), (512, 64))
    assert grid.boxes == ((0, 0, 512, 300),)
    maps = torch.rand(1, MAP_SIZE, MAP_SIZE)
    canvas = Canvas(grid)
    canvas.add(maps)
    assert torch.equal(canvas.map, maps[0])


def test_tiles_that_would_hardly_move_are_refused():
    with pytest.raises(ValidationError, match="at most half"):
        TileSettings(size=100, overlap=51)
