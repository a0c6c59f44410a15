"""The verdict's rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from nand_core.verdict import VERDICTS, commonest, counted, in_words, keyed, least, verdict

RULE = {"lost_alarms": 0.01, "level": 95.0}


@pytest.mark.parametrize(
    ("accepted", "wrong", "lost", "wanted"),
    [
        ((1, 11, 12), 25.0, (0, 36), "works"),
        ((1, 8, 12), 25.0, (1, 36), "helps"),  # one lost alarm of 36 can be chance
        ((1, 12, 12), 25.0, (2, 36), "harms"),
        ((1, 12, 12), 25.0, (36, 36), "harms"),
        ((1, 2, 12), 0.0, (0, 36), "no effect"),  # one image more
        ((10, 11, 12), 25.0, (0, 36), "no effect"),  # it passed before
        ((1, 11, 12), 92.0, (0, 36), "no effect"),  # a wrong text does as much
        ((1, 11, 12), math.nan, (0, 0), "works"),  # no control and no other defect
        ((0, 0, 0), math.nan, (0, 5), "no effect"),
        ((40, 200, 240), 30.0, (5, 1000), "works"),  # half a percent
        ((40, 200, 240), 30.0, (30, 1000), "harms"),
    ],
)
def test_examples(accepted, wrong, lost, wanted):
    assert verdict(accepted, wrong, lost, **RULE) == wanted


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.integers(1, 40))
def test_an_alarm_lost_more_never_makes_it_better(before, after, lost, others):
    found = [verdict((before, after, 30), math.nan, (min(n, others), others), **RULE) for n in (lost, lost + 1)]
    ranks = [VERDICTS.index(one) == len(VERDICTS) - 1 for one in found]
    assert ranks == sorted(ranks)


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_least_share_lies_below_the_share(found, of):
    found = min(found, of)
    assert -1e-9 <= least(found, of, 95) <= 100 * found / of + 1e-9
    wilson = binomtest(found, of).proportion_ci(0.95, method="wilson")
    assert least(found, of, 95) == pytest.approx(100 * wilson.low, rel=1e-9, abs=1e-9)


def test_counts_in_words():
    assert in_words(counted(["works", "harms", "works"])) == "2 works, 1 harms"
    assert in_words(counted([])) == "none"
    assert in_words(keyed(counted(["no effect"]))) == "1 no effect"
    assert list(keyed(counted([]))) == ["works", "helps", "no_effect", "harms"]


def test_of_equally_frequent_verdicts_the_worse_is_shown():
    assert commonest(counted(["works", "works", "harms"])) == "works"
    assert commonest(counted(["works", "harms", "no effect"])) == "harms"
    assert commonest(counted([])) == commonest({}) == ""
