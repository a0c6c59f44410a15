"""The page's parts one by one: panels, the axis, settings, and the colour of a row."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nand_core.report.page import Axis, Row
from nand_core.report.panels import ANOMALY, fitted, heat
from nand_core.settings import ReportSettings


@pytest.mark.parametrize(
    ("size", "want"), [((300, 100), (30, 10)), ((10, 3000), (1, 30)), ((20, 10), (20, 10))]
)
def test_fitted_never_enlarges(size, want):
    assert fitted(size, 30) == want


def test_heat_runs_from_zero_to_the_top_of_its_scale():
    def pixel(value: float, top: float) -> tuple[int, ...]:
        uri = heat(np.full((8, 8), value, np.float32), top, ANOMALY, (8, 8), 100)
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
            return picture.getpixel((4, 4))

    lowest, highest = ([int(ANOMALY[i][at : at + 2], 16) for at in (1, 3, 5)] for i in (0, -1))
    assert pixel(0, 3) == pytest.approx(lowest, abs=3)
    assert pixel(3, 3) == pytest.approx(highest, abs=3)
    assert pixel(9, 3) == pixel(3, 3)
    assert pixel(0, 0) == pixel(0, 3)


def test_the_axis_holds_every_value_and_ends_at_100():
    table = pd.DataFrame({"auroc_before": [63.0], "auroc_after": [99.0], "auroc_bound": [np.nan]})
    axis = Axis.over(table)
    assert (axis.low, axis.ticks) == (60, [60, 70, 80, 90, 100])
    assert 0 < axis.x(60) < axis.x(63) < axis.x(99) < axis.x(100) < 100
    assert axis.x(20) == axis.x(60)
    assert Axis.over(table.assign(auroc_bound=41.0)).low == 40
    assert Axis.over(table.assign(auroc_before=100.0, auroc_after=100.0, auroc_bound=100.0)).low == 90


@pytest.mark.parametrize("bad", [{"gallery": -1}, {"panel": 0}, {"quality": 101}, {"galery": 3}])
def test_settings_are_validated(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ReportSettings(**bad)


@pytest.mark.parametrize(
    ("gain", "tone"),
    [(-3, "worse"), (-0.6, "worse"), (-0.5, "same"), (0, "same"), (0.5, "same"), (0.6, "better")],
)
def test_without_verdicts_half_a_point_is_neither_better_nor_worse(gain, tone):
    assert Row("cut", 64.0, 64.0 + gain).tone == tone


@pytest.mark.parametrize(
    ("made", "tone"),
    [
        ({"verdict": "harms"}, "harms"),
        ({"verdict": "no effect"}, "no-effect"),
        ({"counts": {"works": 3, "helps": 0, "no effect": 0, "harms": 1}}, "works"),
        ({"counts": {"works": 2, "helps": 0, "no effect": 0, "harms": 2}}, "harms"),
    ],
)
def test_the_colour_follows_the_verdict_and_not_the_gain(made, tone):
    assert Row("cut", 64.0, 90.0, **made).tone == Row("cut", 64.0, 50.0, **made).tone == tone
