"""The protocol for normality by example: which images are shown, and that none of them is judged."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nand_core.example_protocol import EXAMPLE_COLUMNS, drawn, example_means, example_row, example_table, with_examples
from nand_core.operating import operating_row
from nand_core.protocol import auroc
from nand_core.report.tables import examples_table
from nand_core.settings import EvaluationSettings, ExampleProtocol
from nand_core.verdict import VERDICTS

SETTINGS = EvaluationSettings(false_alarm=0.2)


@given(st.integers(2, 30), st.integers(0, 5), st.integers(0, 3))
def test_a_larger_draw_holds_the_smaller_one_and_the_order_of_the_images_has_no_effect(count, draw, seed):
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(count)]})
    whole = [drawn(rows, k, draw, seed) for k in range(1, count)]
    assert all(set(a) < set(b) for a, b in pairwise(whole))
    assert drawn(rows[::-1], 1, draw, seed) == whole[0]
    assert not drawn(rows, count, draw, seed)


def test_draws_differ():
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(20)]})
    assert len({drawn(rows, 5, draw, 0) for draw in range(5)}) == 5


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=20), st.integers(0, 3))
def test_no_two_images_of_a_part_are_shown_and_one_part_is_left_to_judge(parts, draw):
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(len(parts))], "part": parts})
    kinds = len(set(parts))
    for images in range(1, kinds):
        shown = drawn(rows, images, draw, 0)
        assert len(shown) == images == rows.loc[rows["path"].isin(shown), "part"].nunique()
    assert not drawn(rows, kinds, draw, 0)


@pytest.fixture
def rows() -> pd.DataFrame:
    kinds = ["good"] * 10 + ["hole"] * 6 + ["thread"] * 6
    return pd.DataFrame(
        {
            "class": "carpet",
            "type": kinds,
            "group": [kind if kind != "good" else "" for kind in kinds],
            "path": [f"{kind}/{i}.png" for i, kind in enumerate(kinds)],
        }
    )


def test_the_shown_images_are_left_out_of_every_figure(rows):
    rng = np.random.default_rng(0)
    scores = {name: rng.random(len(rows)) for name in ("before", "after", "text", "both")}
    shown = rows.loc[rows["group"] == "thread", "path"][:2].tolist()
    row = example_row("d", rows, "thread", shown, scores, SETTINGS)
    assert row["n_normal"] == 14 and row["n_abnormal"] == 6
    assert row["verdict"] in VERDICTS and 0 <= row["lost"] <= 100
    of_two = rows.assign(part=[str(i // 2) for i in range(len(rows))])
    assert example_row("d", of_two, "thread", shown[:1], scores, SETTINGS)["n_normal"] == 14
    wild = {name: np.where(rows["path"].isin(shown), 1e6, one) for name, one in scores.items()}
    assert example_row("d", rows, "thread", shown, wild, SETTINGS) == row
    kept = ~rows["path"].isin(shown).to_numpy()
    truth = (rows["type"] == "hole").to_numpy()[kept].astype(int)
    for name in scores:
        assert row[f"auroc_{name}"] == auroc(truth, scores[name][kept])
    together = operating_row("d", rows[kept], "thread", scores["before"][kept], scores["both"][kept], SETTINGS)
    figures = ("accepted_after", "retained_after", "lost")
    assert [row[f"{one}_both"] for one in ("accepted", "retained", "lost")] == [together[name] for name in figures]


def test_means_are_over_draws_then_groups_then_classes():
    def row(name, group, draw, after, verdict="works"):
        values = dict.fromkeys(EXAMPLE_COLUMNS, 50.0)
        place = {"detector": "d", "class": name, "group": group, "images": 5, "draw": draw}
        return {**values, **place, "auroc_before": 60.0, "auroc_after": after, "auroc_bound": 90.0, "verdict": verdict}

    table = example_table([row("a", "x", 0, 70), row("a", "x", 1, 80), row("a", "y", 0, 55), row("a", "y", 1, 55),
                           row("b", "z", 0, 90, "no effect"), row("b", "z", 1, 90, "harms")])  # fmt: skip
    (found,) = example_means(table).to_dict("records")
    assert found["auroc_after"] == (np.mean([75, 55]) + 90) / 2
    assert (found["groups"], found["groups_gaining"]) == (3, 2)
    assert (found["gain_low"], found["gain_high"]) == (16.25, 18.75)
    assert found["share"] == pytest.approx(100 * 17.5 / 30)
    figures = with_examples({"d": {"gain": 1.0}}, table)
    of_five = figures["d"]["examples"]["5"]
    assert figures["d"]["gain"] == 1.0 and of_five["gain"] == 17.5 and of_five["lost"] == 50.0
    assert next(iter(of_five)) == "verdict"
    assert of_five["verdict"] == {"works": 4, "helps": 0, "no_effect": 1, "harms": 1}, "every draw counts"
    said = "| d | 5 | 4 works, 1 no effect, 1 harms | 50 to 50 | 50 to 50 | 50.0 | 60.0 | 77.5 | +17.5 |"
    assert f"{said} +16.2 to +18.8 | 90.0 | 58 |" in examples_table(table)


def test_without_rows_there_are_no_figures():
    empty = example_table([])
    assert list(empty.columns) == EXAMPLE_COLUMNS and example_means(empty).empty
    assert with_examples({"d": {"gain": 1.0}}, empty) == {"d": {"gain": 1.0}}


@pytest.mark.parametrize("images", [[], [0], [5, 1], [5, 5]])
def test_numbers_of_images_ascend(images):
    with pytest.raises(ValueError, match="images"):
        ExampleProtocol(images=images)
