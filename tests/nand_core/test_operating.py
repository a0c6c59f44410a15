"""Operating points: thresholds, what they judge, and the rates at them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nand_core.operating import (
    EFFECT_COLUMNS,
    FOLDS,
    OPERATING_COLUMNS,
    WHEN,
    class_threshold,
    effect_rows,
    effect_summary,
    effect_table,
    folds,
    operating_means,
    operating_row,
    threshold,
    thresholds,
)
from nand_core.settings import EvaluationSettings

SETTINGS = EvaluationSettings(false_alarm=0.1, seed=3)
SCORES = st.floats(0, 1e6, width=32)


def manifest_of(kinds: dict[str, int]) -> pd.DataFrame:
    """Manifest rows of one class: so many test images of each type, each type a group but ``good`` and ``odd``."""
    rows = [
        ("carpet", kind, "" if kind in ("good", "odd") else kind, f"carpet/test/{kind}/{i:03}.png")
        for kind, count in kinds.items()
        for i in range(count)
    ]
    return pd.DataFrame(rows, columns=["class", "type", "group", "path"])


@pytest.mark.parametrize(
    ("scores", "rate", "limit"),
    [
        (range(1, 20), 0.05, 19),
        (range(1, 20), 0.1, 18),
        (range(1, 100), 0.05, 95),
        (range(1, 11), 0.05, 10),  # too few: the highest
        ([7.0], 0.5, 7.0),
        ([3, 3, 3, 9], 0.4, 3),
    ],
)
def test_the_threshold_is_an_order_statistic(scores, rate, limit):
    assert threshold(list(reversed(list(scores))), rate) == limit


def test_no_image_no_threshold():
    assert math.isnan(threshold([], 0.05))


@pytest.mark.parametrize("n", [19, 20, 39, 100])
def test_new_good_images_raise_an_alarm_as_often_as_was_chosen(n):
    rng = np.random.default_rng(0)
    draws = rng.random((4000, n + 1))
    alarms = [draw[-1] > threshold(draw[:-1], 0.05) for draw in draws]
    assert np.mean(alarms) <= 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5
    assert np.mean(alarms) >= 1 / (n + 1) / 2


def test_folds_are_a_matter_of_path_and_seed_alone():
    paths = [f"carpet/test/good/{i:03}.png" for i in range(500)]
    found = folds(paths, 0)
    assert set(found) == set(range(FOLDS))
    assert np.bincount(found).min() > 60
    assert (folds(paths[::-1], 0)[::-1] == found).all()
    assert (folds(paths[::7], 0) == found[::7]).all()
    assert (folds(paths, 1) != found).mean() > 0.5


@settings(max_examples=60, deadline=None)
@given(st.lists(SCORES, min_size=6, max_size=30), st.data())
def test_no_threshold_is_set_on_the_image_that_it_judges(scores, data):
    """Whatever score an image gets, the threshold that judges it stays."""
    good = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    ids = [f"carpet/test/x/{i:03}.png" for i in range(len(scores))]
    i = data.draw(st.integers(0, len(scores) - 1))
    limits = thresholds(scores, good, ids, SETTINGS)
    changed = np.array(scores)
    changed[i] = data.draw(SCORES)
    np.testing.assert_array_equal(thresholds(changed, good, ids, SETTINGS)[i], limits[i])
    # An anomaly has no part in any threshold.
    if not good[i]:
        np.testing.assert_array_equal(thresholds(changed, good, ids, SETTINGS), limits)
    mates = folds(ids, SETTINGS.seed) == folds(ids, SETTINGS.seed)[i]
    judges = good & ~mates if good[i] else good
    np.testing.assert_array_equal(limits[i], threshold(np.array(scores)[judges], SETTINGS.false_alarm))


def test_a_row_counts_by_hand():
    rows = manifest_of({"good": 40, "thread": 4, "hole": 4, "odd": 2})
    before = np.r_[np.arange(40.0), [50, 51, 52, 10], [60, 61, 12, 13], [70, 5]]
    after = np.r_[np.arange(40.0) / 2, [1, 2, 30, 4], [60, 61, 12, 3], [70, 2]]
    row = operating_row("a", rows, "thread", before, after, SETTINGS)
    assert list(row) == OPERATING_COLUMNS
    assert (row["detector"], row["class"], row["group"]) == ("a", "carpet", "thread")
    assert (row["n_good"], row["n_group"], row["n_other"]) == (40, 4, 6)
    assert row["false_alarm"] == 10
    assert (row["threshold_before"], row["threshold_after"]) == (36.0, 18.0)  # the 37th of 40: ceil(41 * 0.9)
    assert (row["accepted_before"], row["accepted_after"], row["accepted_kept"]) == (25, 75, 100)
    assert [row[f"retained_{when}"] for when in ("before", "after", "kept")] == pytest.approx([50, 50, 50])
    good = (rows["type"] == "good").to_numpy()
    limits = thresholds(before, good, rows["path"].tolist(), SETTINGS)
    assert row["false_alarms_before"] == pytest.approx(100 * (before > limits)[good].mean())
    assert 0 < row["false_alarms_before"] < 25
    assert row["false_alarms_kept"] == 0


def test_without_good_images_nothing_is_claimed():
    rows = manifest_of({"thread": 2, "hole": 2})
    row = operating_row("a", rows, "thread", [1, 2, 3, 4], [1, 1, 1, 1], SETTINGS)
    assert all(math.isnan(row[name]) for name in OPERATING_COLUMNS if "_before" in name or "_after" in name)


def test_means_are_over_groups_and_then_over_classes():
    table = pd.DataFrame({"detector": "a", "class": ["x", "x", "y"], "group": ["p", "q", "p"]})
    for what in ("false_alarms", "accepted", "retained"):
        for when in ("before", "after", "kept"):
            table[f"{what}_{when}"] = [0.0, 100.0, 20.0]
    assert operating_means(table).loc["a", "accepted_after"] == 35


def test_the_effect_of_all_normalities_image_by_image():
    rows = manifest_of({"good": 30, "thread": 2, "odd": 1})
    before = np.r_[np.arange(30.0), 50, 20, 60]
    after = np.r_[np.arange(30.0) / 2, 10, 20, 60]
    found = effect_rows("a", rows, ["thread"], before, after, SETTINGS)
    assert {name: str(kind) for name, kind in found.dtypes.items()} == EFFECT_COLUMNS
    alarms = found.set_index("id")[["alarm_before", "alarm_after", "alarm_kept"]]
    assert alarms.loc["carpet/test/thread/000.png"].tolist() == [True, False, False]
    assert alarms.loc["carpet/test/thread/001.png"].tolist() == [False, True, False]
    assert found["added"].sum() == 2
    summary = effect_summary(found)
    assert summary["kind"].tolist() == ["thread", "odd", "good"]
    assert summary["images"].tolist() == [2, 1, 30]
    assert summary["alarms_before"].tolist()[:2] == [1, 1]
    assert summary["alarms_after"].tolist()[:2] == [1, 1]


def test_the_effects_table_has_its_types_without_rows():
    assert {name: str(kind) for name, kind in effect_table().dtypes.items()} == EFFECT_COLUMNS


FIXED = EvaluationSettings(false_alarm=0.1, threshold={"a": 20}).for_("a", "carpet")


def test_a_fixed_threshold_is_the_same_for_every_image_and_needs_no_good_one():
    scores, good, ids = [1.0, 30.0, 25.0], [True, False, True], ["a.png", "b.png", "c.png"]
    assert thresholds(scores, good, ids, FIXED).tolist() == [20, 20, 20]
    assert class_threshold([], FIXED) == 20 and math.isnan(class_threshold([], SETTINGS))
    assert class_threshold(range(40), SETTINGS) == threshold(range(40), 0.1) == 36


def test_with_a_fixed_threshold_false_alarms_are_what_they_are():
    rows = manifest_of({"good": 40, "thread": 4, "hole": 4, "odd": 2})
    before = np.r_[np.arange(40.0), [50, 51, 52, 10], [60, 61, 12, 13], [70, 5]]
    after = np.r_[np.arange(40.0) / 2, [1, 2, 30, 4], [60, 61, 12, 3], [70, 2]]
    row = operating_row("a", rows, "thread", before, after, FIXED)
    assert list(row) == OPERATING_COLUMNS and math.isnan(row["false_alarm"])
    assert row["threshold_before"] == row["threshold_after"] == 20
    assert [row[f"false_alarms_{when}"] for when in WHEN] == [100 * 19 / 40, 0, 0]
    assert [row[f"accepted_{when}"] for when in WHEN] == [25, 75, 75]
    assert [row[f"retained_{when}"] for when in WHEN] == [50, 50, 50]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SCORES, st.floats(0, 1)), min_size=3, max_size=20), SCORES)
def test_with_a_fixed_threshold_an_addition_gives_no_image_an_alarm(images, number):
    """It judges A_final as it judged A: suppressing lowers scores and leaves alone what it does not reach."""
    rows = manifest_of({"good": 1, "thread": 1, "odd": len(images) - 2})
    before, left = map(np.array, zip(*images, strict=True))
    one = EvaluationSettings(threshold={"a": number}).for_("a", "carpet")
    found = effect_rows("a", rows, ["thread"], before, before * left, one)
    assert set(found["threshold_before"]) == set(found["threshold_after"]) == {number}
    assert (found["alarm_after"] == found["alarm_kept"]).all()
    assert (found["alarm_before"] | ~found["alarm_after"]).all()
