"""The harness that measures beside peers, with rows that need none."""

from __future__ import annotations

import pytest
import torch

from benchmarks.peers.measure import cells, page, run
from benchmarks.peers.pairs import Pair, Size, measured

QUICK = Size(quick=True, threads=1)


def test_a_row_that_fails_says_so_and_the_rest_goes_on(capsys):
    found, failed = run(["nowhere", "subspace", "suppression"], QUICK)
    assert failed == ["nowhere: ModuleNotFoundError: No module named 'benchmarks.peers.rows.nowhere'"]
    assert [one.pair.against for one in found][1:] == ["its two matrix products", "one bare forward"]
    text = page(found, failed, QUICK)
    assert f"Failed: {failed[0]}" in text
    assert all(cells(one)[-1] in text for one in found)
    assert failed[0] in capsys.readouterr().out


def test_different_results_are_not_timed():
    def check(one: int, other: int) -> str:
        assert one == other, "they differ"
        return "the same"

    timed = []
    pair = Pair("a sum", "another", lambda: 1, lambda: 2, check, figure=timed.append)
    with pytest.raises(AssertionError, match="they differ"):
        measured(pair, QUICK)
    assert timed == []


def test_ratios_are_ours_over_theirs_round_by_round():
    ours, theirs = iter([0, 4, 6, 8]), iter([0, 2, 12, 1])
    pair = Pair("a", "b", lambda: next(ours), lambda: next(theirs), lambda *_: "", 1.5, lambda run: run(), rounds=3)
    found = measured(pair, QUICK)
    assert (found.ours, found.theirs) == ([4, 6, 8], [2, 12, 1])
    assert (found.least, found.middle, found.met, found.where) == (4.0, 2.0, False, "")


@pytest.mark.parametrize(("aim", "said"), [(1e-9, True), (1e9, False), (None, False)])
def test_where_the_time_of_a_missed_aim_goes(aim, said):
    one = torch.ones(500, 500)
    found = measured(Pair("a", "b", lambda: one @ one, lambda: one, lambda *_: "", aim), QUICK)
    assert found.where.startswith("mm ") == said
    assert ("| a | b | mm " in page([found], [], QUICK)) == said
