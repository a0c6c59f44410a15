"""Normality by example: what a suppression map is made of, on patches small enough to see through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nand_core.detectors.patches import nearest_neighbours
from nand_core.errors import NandError
from nand_core.examples import (
    Good,
    Shown,
    boxed,
    check_example,
    chosen_patches,
    example_map,
    good_distances,
    learn_good,
    reflected,
    region_means,
    together,
)
from nand_core.settings import ExampleSettings

PLAIN = ExampleSettings(none=0, whole=1, widen=1, regions=False)
NONE = torch.empty(0, 3)


def patches(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_without_contrast_patchcores_map_becomes_the_one_of_the_larger_bank(seed):
    images, bank, like = patches(seed, 2, 4, 5), patches(seed + 1, 30), patches(seed + 2, 7)
    far = good_distances(images, Good(bank, 0.0))
    adapted = far * (1 - example_map(images, far, Shown(like, NONE, 0.0), PLAIN))
    edited = nearest_neighbours(images.flatten(0, 2), torch.cat([bank, like]))[0].view_as(far)
    torch.testing.assert_close(adapted, edited, rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.4), st.floats(0.5, 1), st.booleans())
def test_a_map_is_a_suppression_map_whole_at_an_example_and_nothing_at_what_is_not(seed, none, whole, regions):
    images = patches(seed, 2, 4, 5)
    far = good_distances(images, Good(patches(seed + 1, 30), 0.0))
    chosen = ExampleSettings(none=none, whole=whole, regions=regions)
    shown = Shown(images[0, 1, 2][None], images[1, 3, 3][None], 0.5)
    found = example_map(images, far, shown, chosen)
    assert found.shape == far.shape and found.min() >= 0 and found.max() <= 1
    assert found[1, 3, 3] == 0
    assert example_map(images, far, Shown(images[0, 1, 2][None], NONE, 0.5), chosen)[0, 1, 2] == 1


def test_what_is_nearer_to_good_patches_than_to_an_example_is_left_alone():
    bank, like = torch.zeros(1, 3), torch.tensor([[10.0, 0, 0]])
    images = torch.tensor([[[[1.0, 0, 0], [6, 0, 0], [9, 0, 0]]]])
    far = good_distances(images, Good(bank, 0.0))
    contrast = ExampleSettings(none=0.2, whole=0.6, widen=1, regions=False)
    found = example_map(images, far, Shown(like, NONE, 0.0), contrast)
    torch.testing.assert_close(found, torch.tensor([[[0.0, (1 - 4 / 6 - 0.2) / 0.4, 1]]]))


def test_without_an_example_that_is_fine_nothing_is_suppressed():
    images = patches(0, 1, 2, 2)
    assert not example_map(images, torch.ones(1, 2, 2), Shown(NONE, patches(1, 2), 0.0), PLAIN).any()


def test_a_region_votes_by_how_unusual_its_patches_are():
    values = torch.tensor([[[1.0, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0.3]]])
    weights = torch.tensor([[[3.0, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 2]]])
    found = region_means(values, weights)
    assert found[0, 0, 0] == found[0, 1, 1] == 0.75  # neighbours across a corner
    assert found[0, 0, 3] == 0.5 and found[0, 2, 3] == pytest.approx(0.3)
    assert not found[weights == 0].any()


def test_the_bank_holds_as_many_patches_of_every_image_and_the_level_is_that_of_other_images():
    images = torch.stack([torch.full((4, 4, 1), float(number)) for number in range(5)])
    good = learn_good([images[:2], images[2:]], 5, ExampleSettings(bank=20, level=0.9))
    assert sorted(good.bank.flatten().tolist()) == sorted([0.0, 1, 2, 3, 4] * 4)
    assert good.level == 1.0  # each image lies 1 away from the next, and 0 from itself
    again = learn_good([images], 5, ExampleSettings(bank=20, level=0.9))
    assert torch.equal(again.bank, good.bank)  # however the images are batched


def test_one_good_image_says_nothing_of_the_others():
    with pytest.raises(NandError, match="1 good images to compare them with; at least two"):
        learn_good([patches(0, 1, 2, 2)], 1, ExampleSettings())


def test_an_example_is_what_no_good_image_shows_or_what_the_box_covers():
    far, good = torch.zeros(4, 4), Good(NONE, 1.0)
    far[0, 3] = 2
    assert chosen_patches(far, good).nonzero().tolist() == [[0, 3]]
    box = boxed("a.png", (2, 4, 4, 2), (8, 8))  # columns 1 and 2 of the row of patches 2
    assert chosen_patches(far, good, box).nonzero().tolist() == [[2, 1], [2, 2]]
    one = boxed("a.png", (7, 7, 1, 1), (8, 8))
    assert chosen_patches(far, good, one).nonzero().tolist() == [[3, 3]]
    turned = reflected(box)
    assert chosen_patches(far, good, turned[3]).nonzero().tolist() == [[1, 1], [1, 2]]


@pytest.mark.parametrize(("box", "problem"), [((5, 0, 4, 4), "leaves the image"), ((0, 0, 0, 4), "is empty")])
def test_a_box_that_does_not_fit_is_refused(box, problem):
    with pytest.raises(NandError, match=rf"a\.png: the box .* {problem}"):
        boxed("a.png", box, (8, 8))


def test_an_image_that_does_not_say_what_is_meant_is_refused():
    with pytest.raises(NandError, match=r"a\.png: shows nothing that the good images of 'x' do not"):
        check_example("a.png", "x", False, 0.0)
    with pytest.raises(NandError, match=r"a\.png: 100 % of it looks like nothing in the good images of 'x'"):
        check_example("a.png", "x", False, 1.0)
    check_example("a.png", "x", True, 0.0)
    check_example("a.png", "x", True, 1.0)


def test_many_patches_are_thinned_to_the_most_different_ones():
    many = torch.cat([patches(0, 50) * 1e-3, torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]])])
    kept = together([many[:10], many[10:]], ExampleSettings(patches=4))
    assert len(kept) == 4 and {9.0} <= set(kept.flatten().tolist()) and (kept == 9).sum() == 3
    assert torch.equal(together([many], ExampleSettings(patches=100)), many)


def test_contrast_must_rise():
    with pytest.raises(ValueError, match="none must be below whole"):
        ExampleSettings(none=0.6, whole=0.6)
    with pytest.raises(ValueError, match="widen must be odd"):
        ExampleSettings(widen=2)
    assert np.isclose(ExampleSettings().level, 0.995)
