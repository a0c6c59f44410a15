"""What a patch means: kinds of defect, on few enough of them to see through."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nand_core.adaptation.targets import defect_kinds
from nand_core.examples import Pictured, Shown, example_map, shown_by
from nand_core.meaning import Kinds, Meaning, alike, described, meanings, meant
from nand_core.settings import ExampleSettings
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.settings import EncoderSettings

KINDS = Kinds(torch.eye(4))  # plain normality, and three kinds of defect
IDENTITY = torch.nn.Identity()


def seen(*directions: int, size: int = 2) -> Tensor:
    """Patch tokens (1, 4, size, size) along one of the axes each."""
    return torch.eye(4)[torch.tensor(directions)].T.reshape(1, 4, size, size)


def shares(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).softmax(dim=-1)


def test_a_patch_means_what_it_lies_near_and_the_deepest_layers_are_asked():
    first, last = seen(1, 1, 1, 1), seen(0, 1, 2, 3)
    deep = meanings([first, last], [IDENTITY] * 2, Kinds(KINDS.texts, 1), 30.0, (2, 2))
    assert deep.shape == (1, 2, 2, 4) and deep[0].flatten(0, 1).argmax(dim=-1).tolist() == [0, 1, 2, 3]
    both = meanings([first, last], [IDENTITY] * 2, KINDS, 30.0, (2, 2))
    torch.testing.assert_close(both[0, 0, 0], torch.tensor([0.5, 0.5, 0, 0]), atol=1e-6, rtol=0)


def test_a_coarser_layer_is_brought_onto_the_grid_and_still_adds_up_to_one():
    found = meanings([seen(0, 1, 2, 3)], [IDENTITY], KINDS, 5.0, (5, 5))
    assert found.shape == (1, 5, 5, 4)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(1, 5, 5))
    corners = found[0, ::4, ::4].flatten(0, 1).argmax(dim=-1)
    assert corners.tolist() == [0, 1, 2, 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_what_is_described_is_most_like_itself_whatever_the_scale_of_the_weights(seed, scale):
    found, weights = shares(seed, 3, 4, 6), torch.rand(3, 4, generator=torch.Generator().manual_seed(seed))
    kinds = described(found, weights)
    assert kinds.shape == (5,) and kinds.sum() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(described(found, weights * scale), kinds)
    likeness = alike(found, kinds)
    assert likeness.min() >= 0 and likeness.max() <= 1
    one = described(found[:1, :1], torch.ones(1, 1))
    assert alike(found[:1, :1], one).item() == pytest.approx(1, abs=1e-5)


def test_no_weight_describes_nothing_and_normality_has_no_part_in_a_likeness():
    assert not described(shares(0, 2, 2, 4), torch.zeros(2, 2)).any()
    scratch = torch.tensor([0.1, 0.9, 0, 0]), torch.tensor([0.9, 0.1, 0, 0])
    for patch in scratch:
        assert alike(patch, torch.tensor([1.0, 0, 0])).item() == pytest.approx(1)
        assert alike(patch, torch.tensor([0.0, 1, 0])).item() == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(1, 20))
def test_a_suppression_by_kinds_stays_one_and_vanishes_for_other_kinds(seed, power):
    likeness, means = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(seed)), shares(seed, 2, 3, 3, 4)
    kinds = Meaning(KINDS, torch.eye(3)[:1], torch.empty(0, 3))
    found = meant(likeness, means, kinds, power)
    assert found.min() >= 0 and found.max() <= 1
    other = torch.zeros(2, 3, 3, 4)
    other[..., 2] = 1
    assert not meant(likeness, other, kinds, power).any()
    same = torch.zeros(2, 3, 3, 4)
    same[..., 1] = 1
    torch.testing.assert_close(meant(likeness, same, kinds, power), torch.ones_like(likeness))
    normal = torch.tensor([1.0, 0, 0, 0]).expand(2, 3, 3, 4)
    assert not meant(torch.ones(2, 3, 3), normal, kinds, power).any()


def test_what_is_more_like_an_image_that_is_not_fine_is_left_to_the_patches():
    means = torch.tensor([[[[0.1, 0.6, 0.3, 0.0], [0.1, 0.3, 0.6, 0.0]]]])
    both = Meaning(KINDS, torch.tensor([[0.5, 0.5, 0]]), torch.tensor([[0.2, 0.8, 0]]))
    found = meant(torch.zeros(1, 1, 2), means, both, 2.0)
    assert found[0, 0, 0] > 0.5 and found[0, 0, 1] == 0


def test_every_example_counts_the_same_and_only_where_the_settings_say_so():
    one, other = (Pictured(torch.zeros(n, 3), torch.ones(1), torch.eye(3)[k]) for n, k in ((9, 0), (1, 1)))
    chosen = ExampleSettings(meaning=4)
    shown = shown_by([one, other], [], 0.5, chosen, KINDS)
    assert shown.meaning is not None and shown.meaning.unlike.shape == (0, 3)
    torch.testing.assert_close(shown.meaning.like.mean(dim=0), torch.tensor([0.5, 0.5, 0]))
    assert shown_by([one], [], 0.5, ExampleSettings(), None).meaning is None
    means = shares(0, 1, 2, 2, 4)
    vectors, far = torch.ones(1, 2, 2, 3), torch.ones(1, 2, 2)
    without = example_map(vectors, far, Shown(one.patches, torch.empty(0, 3), 0.5), chosen, means)
    off = example_map(vectors, far, shown, ExampleSettings(), means)
    assert torch.equal(off, without) and not torch.equal(example_map(vectors, far, shown, chosen, means), off)


def test_the_kinds_are_said_of_the_class():
    vlm = load_vlm(EncoderSettings())
    carpet, metal = (defect_kinds(vlm, name) for name in ("carpet", "metal_nut"))
    assert carpet.shape == metal.shape and carpet.shape[1] == vlm.embed_dim
    torch.testing.assert_close(carpet.norm(dim=1), torch.ones(len(carpet)))
    assert not torch.equal(carpet, metal)
