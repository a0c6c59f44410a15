from __future__ import annotations

import numpy as np
import pytest

from nand_core.drawing.scenes import TYPES, scene
from nand_core.drawing.textures import HELD_OUT, TEXTURES


def test_a_scene_is_a_function_of_seed_and_index():
    first, again, other = scene(3, 5), scene(3, 5), scene(3, 6)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("name", TYPES)
def test_each_type_is_drawn_within_the_image(name: str):
    number = TYPES.index(name) + 1
    areas = []
    for index in range(8):
        drawn = scene(11, index, types=(name,))
        assert drawn.image.shape == (128, 128, 3)
        assert drawn.image.dtype == drawn.labels.dtype == np.uint8
        assert set(np.unique(drawn.labels)) <= {0, number}
        areas.append((drawn.labels == number).mean())
    assert sum(area > 0 for area in areas) >= 5
    assert max(areas) < 0.9


def test_a_defect_changes_the_image_where_its_mask_is():
    good, bad = scene(2, 8, types=(), names=("plain",)), scene(2, 8, types=("hole",), names=("plain",))
    assert not good.labels.any()
    inside = bad.image[bad.labels > 0].astype(float).mean()
    outside = bad.image[bad.labels == 0].astype(float).mean()
    assert abs(inside - outside) > 5


@pytest.mark.parametrize("name", [*TEXTURES, *HELD_OUT])
def test_each_texture_is_drawn_without_labels(name: str):
    drawn = scene(1, 0, types=(), names=(name,))
    assert drawn.texture == name
    assert not drawn.labels.any()


def test_families_and_types_are_many():
    assert len(TEXTURES) >= 14
    assert len(TYPES) >= 22
    assert not set(TEXTURES) & set(HELD_OUT)


def test_normal_share():
    assert not any(scene(4, i, normal=1.0).labels.any() for i in range(5))
    assert sum(scene(4, i, normal=0.0).labels.any() for i in range(10)) >= 9
