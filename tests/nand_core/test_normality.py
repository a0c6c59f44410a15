"""Eqs. 3, 4 and 6: what must hold for any input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from torch import nn

from nand_core.normality import (
    SuppressionSettings,
    combine,
    dilate,
    distinct,
    image_score,
    layer_logits,
    layer_probabilities,
    resize_maps,
    suppress,
    suppression_map,
    text_feature,
    union,
)

SHAPE = (2, 3, 4)
unit_floats = st.floats(0, 1, width=32)


def maps(elements):
    return arrays(np.float32, SHAPE, elements=elements).map(torch.from_numpy)


anomaly_maps = maps(st.floats(0, 1e6, width=32))
suppression_maps = maps(unit_floats)


@settings(deadline=None, max_examples=50)
@given(anomaly_maps, suppression_maps)
def test_strength_zero_gives_the_map_back_bit_for_bit(anomaly, suppression):
    assert suppress(anomaly, suppression, 0).numpy().tobytes() == anomaly.numpy().tobytes()


@settings(deadline=None, max_examples=50)
@given(anomaly_maps, suppression_maps)
def test_full_strength_is_equation_6(anomaly, suppression):
    assert torch.equal(suppress(anomaly, suppression), anomaly * (1 - suppression))


@settings(deadline=None, max_examples=50)
@given(anomaly_maps, suppression_maps, unit_floats)
def test_no_position_and_no_score_ever_rises(anomaly, suppression, alpha):
    after = suppress(anomaly, suppression, alpha)
    assert (after >= 0).all() and (after <= anomaly).all()
    assert (image_score(after) <= image_score(anomaly)).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(suppression_maps, min_size=2, max_size=4), st.randoms())
def test_union_has_no_order(suppressions, random):
    shuffled = random.sample(suppressions, len(suppressions))
    assert torch.equal(union(suppressions), union(shuffled))


@settings(deadline=None, max_examples=50)
@given(st.lists(suppression_maps, min_size=1, max_size=4))
def test_union_is_suppression_in_turn_and_stays_in_the_unit_interval(suppressions):
    joined = union(suppressions)
    left = torch.ones(SHAPE)
    for suppression in suppressions:
        left = suppress(left, suppression)
    torch.testing.assert_close(1 - joined, left, rtol=0, atol=1e-6)
    assert joined.min() >= 0 and joined.max() <= 1


@settings(deadline=None, max_examples=50)
@given(suppression_maps)
def test_union_of_one_is_that_one(suppression):
    assert torch.equal(union([suppression]), suppression)


def test_text_feature_weighs_sentences_equally():
    found = text_feature(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(found, torch.full((2,), 0.5**0.5))


def parts(layers=3, width=8, embed=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(2, width, 4, 4, generator=generator) for _ in range(layers)]
    torch.manual_seed(seed)
    linear = nn.ModuleList(nn.Linear(width, embed) for _ in range(layers)).requires_grad_(False)
    return features, linear, nn.functional.normalize(torch.randn(4, embed, generator=generator), dim=-1)


def test_logits_are_scaled_cosines():
    features, linear, text = parts()
    logits = layer_logits(features, linear, text, 7.0)
    token = linear[1](features[1][1, :, 2, 3])
    wanted = 7 * nn.functional.cosine_similarity(token[None], text)
    torch.testing.assert_close(logits[1][1, :, 2, 3], wanted)
    assert all(layer.is_contiguous() for layer in logits)


def test_probabilities_sum_to_one_and_keep_the_corners():
    logits = [torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    found = torch.stack(layer_probabilities(logits, 9))
    assert found.shape == (2, 2, 3, 9, 9)
    torch.testing.assert_close(found.sum(2), torch.ones(2, 2, 9, 9))
    torch.testing.assert_close(found[0, ..., 0, -1], logits[0][..., 0, -1].softmax(1))


def test_fewer_layers_than_features_is_an_error():
    features, linear, text = parts()
    with pytest.raises(ValueError, match=r"zip\(\) argument"):
        layer_logits(features, linear[:2], text, 1.0)


def test_combinations_of_layers():
    layers = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1)
    assert [combine(layers, how).item() for how in ("mean", "sum", "max")] == [0.5, 1.0, 0.75]


@pytest.mark.parametrize("how", ["mean", "sum", "max"])
@pytest.mark.parametrize("dilation", [0, 9])
def test_suppression_maps_lie_in_the_unit_interval(how, dilation):
    features, linear, text = parts()
    settings = SuppressionSettings(combine=how, dilation=dilation)
    found = suppression_map(features, linear, text[0], text[1], 30.0, settings)
    assert found.shape == (2, 256, 256) and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1 and found.std() > 0


def test_a_normality_alike_plain_normality_is_even():
    features, linear, text = parts()
    found = suppression_map(features, linear, text[0], text[0], 30.0, SuppressionSettings())
    torch.testing.assert_close(found, torch.full((2, 256, 256), 0.5))


def test_the_prior_weighs_plain_normality():
    features, linear, text = parts()
    found = suppression_map(features, linear, text[0], text[0], 30.0, SuppressionSettings(prior=0.25))
    torch.testing.assert_close(found, torch.full((2, 256, 256), 0.8))


def test_the_temperature_divides_the_scale():
    features, linear, text = parts()
    soft = suppression_map(features, linear, text[0], text[1], 30.0, SuppressionSettings(temperature=2.0))
    assert torch.equal(soft, suppression_map(features, linear, text[0], text[1], 15.0, SuppressionSettings()))


def test_dilation_is_a_maximum_filter():
    features, linear, text = parts()
    plain, wide = (
        suppression_map(features, linear, text[0], text[1], 30.0, SuppressionSettings(dilation=d))
        for d in (0, 5)
    )
    assert wide[0, 100, 60] == plain[0, 98:103, 58:63].max()
    assert wide[1, 0, 255] == plain[1, :3, 253:].max()


def test_competing_texts_take_from_the_normality():
    features, linear, text = parts()
    plain, ignored, competing = (
        suppression_map(features, linear, text[0], text[1], 30.0, SuppressionSettings(competing=on), others)
        for on, others in ((True, None), (False, text[2:]), (True, text[2:]))
    )
    assert torch.equal(plain, ignored)
    assert (competing <= plain + 1e-6).all() and (competing < plain - 0.1).any()


def test_a_dilated_map_spares_what_other_texts_claim():
    features, linear, text = parts()
    near, wide = (
        suppression_map(
            features, linear, text[0], text[1], 30.0, SuppressionSettings(dilation=side, competing=True), text[2:]
        )
        for side in (0, 21)
    )
    shares = torch.stack(layer_probabilities(layer_logits(features, linear, text, 30.0), 256)).mean(dim=0)
    torch.testing.assert_close(wide, dilate(near, 21) * (shares[:, 0] + shares[:, 1]))
    lost = shares[:, 2:].sum(dim=1) > 0.9
    assert lost.any() and wide[lost].max() < 0.1 < dilate(near, 21)[lost].max()


@given(st.integers(0, 12), st.integers(1, 20), st.integers(1, 20))
def test_dilation_is_the_maximum_over_squares(half, height, width):
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(height))
    side = 2 * half + 1
    around = torch.nn.functional.pad(maps, [half] * 4, value=-torch.inf)
    assert torch.equal(dilate(maps, side), around.unfold(1, side, 1).unfold(2, side, 1).amax(dim=(-2, -1)))


@pytest.mark.parametrize("dilation", [2, -1, 257])
def test_dilation_must_be_odd_and_small(dilation):
    with pytest.raises(ValidationError):
        SuppressionSettings(dilation=dilation)


def test_resizing_leaves_the_right_size_alone():
    found = torch.rand(2, 256, 256, generator=torch.Generator().manual_seed(0))
    assert resize_maps(found) is found
    assert resize_maps(found, 64).shape == (2, 64, 64)
    for size in (3, 7):
        torch.testing.assert_close(
            resize_maps(torch.full((1, 5, 5), 0.3), size), torch.full((1, size, size), 0.3)
        )


def unit(*rows) -> torch.Tensor:
    return nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


@pytest.mark.parametrize("shared", [0.0, 3.0])
def test_a_text_from_outside_competes_with_the_groups_that_mean_something_else(shared):
    """Also for a text tower whose cosines all lie high: ``shared`` is what all of its features have in common."""
    thread, hole, normal = ([shared, *row] for row in ([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    known = unit(thread, hole)
    synonym, stranger = unit([shared, 1, 0.2, 0])[0], unit([shared, 0.3, 0.3, 1])[0]
    assert distinct(synonym, unit(normal)[0], known).tolist() == [False, True]
    assert distinct(stranger, unit(normal)[0], known).tolist() == [True, True]
    assert distinct(synonym, unit(normal)[0], known[:1]).tolist() == [False]
    assert distinct(synonym, unit(normal)[0], known[:0]).tolist() == []


@pytest.mark.parametrize("deepest", [1, 2, 3, 7])
def test_the_last_layers_alone_are_asked(deepest):
    torch.manual_seed(0)
    features = [torch.randn(2, 5, 3, 3) for _ in range(3)]
    linear = [nn.Linear(5, 4) for _ in features]
    f_add, f_nor, other = torch.nn.functional.normalize(torch.randn(3, 4), dim=-1)
    asked = SuppressionSettings(deepest=deepest)
    few = suppression_map(features, linear, f_add, f_nor, 10.0, asked, other[None])
    whole = SuppressionSettings()
    rest = suppression_map(features[-deepest:], linear[-deepest:], f_add, f_nor, 10.0, whole, other[None])
    assert torch.equal(few, rest)
    assert "deepest" not in whole.model_dump() and asked.model_dump()["deepest"] == deepest
