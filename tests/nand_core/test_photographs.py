from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nand_core.drawing.photographs import painted, reduced
from nand_core.drawing.scenes import TYPES


def photograph(width: int, height: int, grey: bool = False, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(90, 160, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels[..., :1].repeat(3, -1) if grey else pixels)


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([64, 128, 256]), st.integers(0, 10_000))
def test_any_photograph_gives_a_picture_with_its_labels(width, height, side, index):
    drawn = painted([photograph(width, height)], side, 5, index)
    assert drawn.image.shape == (side, side, 3) and drawn.image.dtype == np.uint8
    assert drawn.labels.shape == (side, side) and drawn.labels.max() <= len(TYPES)


def test_the_same_number_gives_the_same_picture_and_another_another():
    photographs = [photograph(80, 60, seed=seed) for seed in range(3)]
    one, again, other = (painted(photographs, 128, 1, index) for index in (4, 4, 5))
    assert np.array_equal(one.image, again.image) and np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.image, other.image)


def test_grey_stays_grey():
    for index in range(12):
        image = painted([photograph(90, 70, grey=True)], 128, 2, index).image
        assert (image.max(-1) == image.min(-1)).all()


def test_a_label_stands_where_the_picture_was_changed():
    """On one tone, whatever differs is a defect or its soft rim: light is even, and noise is small."""
    plain = Image.new("RGB", (128, 128), (120, 120, 120))
    inside, outside = [], []
    for index in range(40):
        drawn = painted([plain], 128, 3, index)
        away = np.abs(drawn.image.astype(float) - np.median(drawn.image, axis=(0, 1))).max(-1)
        inside += [away[drawn.labels > 0].mean()] if drawn.labels.any() else []
        outside.append(away[drawn.labels == 0].mean())
    assert np.mean(inside) > 4 * np.mean(outside)


def test_every_type_is_drawn():
    found = {int(k) for index in range(250) for k in np.unique(painted([photograph(64, 64)], 64, 4, index).labels)}
    assert len(found - {0}) > 0.8 * len(TYPES)


@pytest.mark.parametrize(
    ("size", "wanted"), [((4000, 3000), (683, 512)), ((64, 64), (64, 64)), ((511, 9000), (511, 9000))]
)
def test_only_detail_that_cannot_be_used_is_given_up(size, wanted):
    assert reduced(Image.new("RGB", size), 256).size == wanted
