"""The decision about unusual regions: what it leaves alone, what it brings down, and when it is Eq. 6."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nand_core.decision import Claim, Decision, final_maps, good_level
from nand_core.errors import NandError
from nand_core.normality import suppress
from nand_core.settings import RegionSettings, Rule

SIDE = 12
ANOMALY = arrays(np.float32, (3, SIDE, SIDE), elements=st.floats(0, 8, width=32))
SEEN = arrays(np.float32, (3, SIDE, SIDE), elements=st.floats(0, 1, width=32))
LEVEL = st.floats(0, 8, width=32)
REGIONS = RegionSettings(none=0.4, whole=0.5, alone=0.6)


def maps(*spots: tuple[slice, slice, float], base: float = 1.0) -> torch.Tensor:
    """One map of ``base`` with rectangles of other values in it."""
    found = torch.full((1, SIDE, SIDE), base)
    for rows, columns, value in spots:
        found[0, rows, columns] = value
    return found


def test_a_region_on_which_the_normality_is_seen_falls_to_the_good_level_with_its_rim():
    anomaly = maps((slice(2, 9), slice(2, 9), 3.0), (slice(4, 7), slice(4, 7), 6.0))
    seen = maps((slice(4, 7), slice(4, 7), 0.75), base=0.0)  # tighter than the anomaly, and not quite sure
    final = final_maps(anomaly, [Claim(seen)], Rule(regions=REGIONS, level=2.0))
    assert final.max() == 2.0
    assert suppress(anomaly, seen).max() == 3.0, "what Eq. 6 leaves of the rim"


def test_what_falls_to_the_level_ties_there():
    anomaly = torch.cat([maps((slice(0, 3), slice(0, 3), value)) for value in (6.0, 7.3, 123.456)])
    final = final_maps(anomaly, [Claim(torch.ones_like(anomaly))], Rule(regions=REGIONS, level=1.9))
    assert final.amax((1, 2)).unique().tolist() == [float(torch.tensor(1.9))]


def test_another_region_of_the_same_image_keeps_its_score():
    anomaly = maps((slice(0, 4), slice(0, 4), 6.0), (slice(7, 11), slice(7, 11), 5.0))
    seen = maps((slice(0, 4), slice(0, 4), 0.9), (slice(7, 11), slice(7, 11), 0.3), base=0.0)
    final = final_maps(anomaly, [Claim(seen)], Rule(regions=REGIONS, level=2.0))
    assert final[0, :4, :4].max() == 2.0
    assert torch.equal(final[0, 7:, 7:], anomaly[0, 7:, 7:]), "a share that is too small takes nothing"


def test_images_of_a_batch_do_not_touch_each_other():
    anomaly = torch.cat([maps((slice(0, 3), slice(0, 3), 6.0))] * 2)
    seen = torch.cat([torch.ones(1, SIDE, SIDE), torch.zeros(1, SIDE, SIDE)])
    final = final_maps(anomaly, [Claim(seen)], Rule(regions=REGIONS, level=2.0))
    assert final.amax((1, 2)).tolist() == [2.0, 6.0]


@given(ANOMALY, SEEN, LEVEL, st.floats(0, 1))
def test_nothing_rises_nothing_falls_below_the_level_and_a_batch_is_its_images(anomaly, seen, level, alpha):
    rule = Rule(alpha=alpha, regions=REGIONS, level=level)
    a, s = torch.from_numpy(anomaly), torch.from_numpy(seen)
    given_a, given_s = a.clone(), s.clone()
    final = final_maps(a, [Claim(s)], rule)
    assert (final <= a).all()
    assert (final >= torch.minimum(a, torch.tensor(level)) - 1e-6).all()
    assert torch.equal(final[a <= level], a[a <= level])
    single = torch.cat([final_maps(a[i : i + 1], [Claim(s[i : i + 1])], rule) for i in range(len(a))])
    assert torch.equal(final, single)
    assert torch.equal(a, given_a)
    assert torch.equal(s, given_s)


@given(ANOMALY, SEEN, LEVEL)
def test_no_strength_and_no_suppression_leave_the_map_bit_for_bit(anomaly, seen, level):
    a, s = torch.from_numpy(anomaly), torch.from_numpy(seen)
    assert torch.equal(final_maps(a, [Claim(s)], Rule(alpha=0, regions=REGIONS, level=level)), a)
    assert torch.equal(final_maps(a, [Claim(torch.zeros_like(s))], Rule(regions=REGIONS, level=level)), a)


@given(ANOMALY, SEEN, LEVEL)
def test_more_suppression_never_leaves_a_higher_score(anomaly, seen, level):
    a, s = torch.from_numpy(anomaly), torch.from_numpy(seen)
    rule = Rule(regions=REGIONS, level=level)
    assert (final_maps(a, [Claim((s + 0.2).clamp(max=1))], rule) <= final_maps(a, [Claim(s)], rule) + 1e-5).all()


@pytest.mark.parametrize(
    "rule", [Rule(alpha=0.5, regions=None, level=1.0), Rule(alpha=0.5), Rule(alpha=0.5, level=np.nan)]
)
@given(ANOMALY, SEEN)
def test_without_regions_or_a_level_it_is_equation_6(rule, anomaly, seen):
    a, s = torch.from_numpy(anomaly), torch.from_numpy(seen)
    assert torch.equal(final_maps(a, [Claim(s)], rule), suppress(a, s, 0.5))


def two_spots(first: float, second: float) -> torch.Tensor:
    return maps((slice(0, 4), slice(0, 4), first), (slice(7, 11), slice(7, 11), second), base=0.0)


def left(*claims: Claim, regions: RegionSettings = REGIONS) -> list[float]:
    """What is left of two spots of 6 above a level of 2."""
    anomaly = maps((slice(0, 4), slice(0, 4), 6.0), (slice(7, 11), slice(7, 11), 6.0))
    final = final_maps(anomaly, claims, Rule(regions=regions, level=2.0))
    return [float(final[0, :4, :4].max()), float(final[0, 7:, 7:].max())]


def test_a_region_of_which_a_rival_says_more_is_not_brought_down():
    claimed, rival = two_spots(0.9, 0.6), two_spots(0.2, 0.9)
    assert left(Claim(claimed)) == [2.0, 2.0]
    assert left(Claim(claimed, (rival,))) == [2.0, 6.0], "0.6 * (0.6 / 0.9)^2 is below 0.4"
    assert left(Claim(claimed, (claimed,))) == [2.0, 2.0], "a rival that says the same takes nothing"
    assert left(Claim(claimed, (two_spots(0, 0), rival))) == [2.0, 6.0], "the rival that says most counts"


@given(ANOMALY, SEEN)
def test_a_claim_of_half_the_strength_goes_half_of_the_way(anomaly, seen):
    both = two_spots(0.9, 0.9)
    assert left(Claim(both, strength=0.5)) == [4.0, 4.0]
    assert left(Claim(both, strength=0.5), Claim(two_spots(0.9, 0))) == [2.0, 4.0]
    a, s = torch.from_numpy(anomaly), torch.from_numpy(seen)
    assert torch.equal(final_maps(a, [Claim(s, strength=0.5)], Rule(regions=None)), suppress(a, 0.5 * s, 1.0))


def test_against_rivals_less_is_enough_than_alone():
    some = two_spots(0.5, 0.45)
    assert left(Claim(some, (two_spots(0, 0),))) == [2.0, pytest.approx(4.0)]
    assert left(Claim(some)) == [pytest.approx(4.0), pytest.approx(5.0)]


def test_of_several_claims_the_one_that_says_most_of_a_region_counts_with_its_own_rivals():
    one, other = Claim(two_spots(0.9, 0.5), (two_spots(0, 0.9),)), Claim(two_spots(0, 0.9))
    assert left(one) == [2.0, 6.0]
    assert left(one, other) == left(other, one) == [2.0, 2.0]


@given(ANOMALY, SEEN, SEEN, LEVEL)
def test_a_rival_never_lowers_a_score_and_asking_again_changes_nothing(anomaly, seen, rival, level):
    a, s, r = map(torch.from_numpy, (anomaly, seen, rival))
    even = RegionSettings(none=0.4, whole=0.6, alone=0.6)
    decision = Decision(a, Rule(regions=even, level=level))
    alone, beside = decision.final_maps([Claim(s)]), decision.final_maps([Claim(s, (r,))])
    assert (beside >= alone).all()
    assert torch.equal(decision.final_maps([Claim(s)]), alone)


def test_the_good_level_is_the_median_of_good_scores():
    assert good_level([3.0, 1.0, 2.0, 9.0]) == 2.5
    assert good_level([]) is None


def test_none_has_to_be_below_whole():
    with pytest.raises((ValueError, NandError), match="none must be below whole"):
        RegionSettings(none=0.6, whole=0.6)
    with pytest.raises((ValueError, NandError), match="none must be below whole and alone"):
        RegionSettings(none=0.6, alone=0.5, whole=0.7)
