"""What is said of a line whose images are other than its threshold was set for, and what is not."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspection_line import Brightness, drop, inspect, png, prepared

from flows import inspection
from flows.inbox.drift import LEAST_GOOD, LEAST_RECENT, RECENT, drift, interval, recent
from flows.inbox.rows import write_part
from nand_core.errors import NandError
from nand_core.operating import threshold
from nand_core.settings import EvaluationSettings

GOOD = np.linspace(0, 1, 400)
LIMIT = threshold(GOOD, 0.05)


def seen(alarms: int, of: int) -> np.ndarray:
    """Scores as those of good images, so many of them above the threshold."""
    return np.r_[np.full(alarms, 2.0), np.linspace(0.01, LIMIT, of - alarms)]


def lines(alarms: int, of: int = 200, good: np.ndarray = GOOD) -> tuple[str, ...]:
    return drift(seen(alarms, of), good, LIMIT, 0.05).warnings


def test_more_alarms_than_good_images_give_are_told_in_one_line():
    (line,) = lines(31)
    assert line == (
        "31 of the last 200 images raise an alarm (11 to 21 %), good ones were to give 5 % (7 % at most, by 400 test "
        "images): more defects than usual, or light, camera or material changed; look at the overlays"
    )
    one = drift(seen(1, 20), GOOD, LIMIT, 0.05).counted
    assert one == "1 of the last 20 images raises an alarm (0.1 to 25 %), good ones were to give 5 %"


def test_far_too_few_are_told_where_there_are_enough_images():
    (line,) = lines(0)
    said = "0 of the last 200 images raise an alarm (0 to 2 %), good ones were to give 5 % (3 % at least, by 400 test"
    assert line.startswith(said)
    assert "the threshold is too high for what comes now" in line
    assert lines(0, of=50) == ()


def test_few_test_images_say_little_about_what_good_ones_give():
    assert lines(25) and not lines(25, good=np.linspace(0, LIMIT, 20))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.sampled_from([4, 19, 20, 40, 400]))
def test_at_the_expected_rate_nothing_is_said(of, good):
    test_images = np.linspace(0, LIMIT * 1.02, good)
    limit = threshold(test_images, 0.05)
    for alarms in {of // 20, -(-of // 20)}:
        scores = np.r_[np.full(alarms, 2.0), np.linspace(0, limit, of - alarms)]
        assert drift(scores, test_images, limit, 0.05).warnings == ()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 200), st.floats(0.01, 0.5), st.sampled_from([10, 100, 400]))
def test_more_alarms_never_say_less_often_that_there_are_more(of, rate, good):
    test_images = np.linspace(0, 1, good)
    limit = threshold(test_images, rate)
    said = [drift(np.r_[np.full(k, 2.0), np.full(of - k, 0.5)], test_images, limit, rate) for k in range(0, of + 1, 7)]
    more = [any("more defects" in line for line in one.warnings) for one in said]
    few = [any("too high" in line for line in one.warnings) for one in said]
    assert more == sorted(more) and few == sorted(few, reverse=True)
    assert not any(a and b for a, b in zip(more, few, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.data())
def test_an_interval_holds_its_share_and_grows_with_it(of, data):
    count = data.draw(st.integers(0, of))
    low, high = interval(count, of)
    assert 0 <= low <= count / of <= high <= 1
    if count:
        assert interval(count - 1, of)[0] <= low and interval(count - 1, of)[1] <= high


def test_a_line_that_is_as_it_was_is_seldom_blamed():
    draw = np.random.default_rng(0)
    for good in (20, 400):
        tests, new = draw.random((100, good)), draw.random((100, RECENT))
        said = [bool(drift(b, a, threshold(a, 0.05), 0.05).warnings) for a, b in zip(tests, new, strict=True)]
        assert np.mean(said) < 0.04


def test_a_fixed_threshold_is_expected_to_give_what_the_test_images_gave():
    limit = float(np.quantile(GOOD, 0.8))
    scores = np.r_[np.full(40, 2.0), np.full(160, 0.5)]
    assert drift(scores, GOOD, limit, None).counted.endswith("good test images gave 20 %")
    assert drift(scores, GOOD, limit, None).warnings == ()
    assert "good ones were to give 5 %" in drift(scores, GOOD, limit, 0.05).counted
    (line,) = drift(np.full(200, 0.5), GOOD, 3.0, None).warnings + drift(seen(8, 200), GOOD, 3.0, None).warnings + (
        drift(np.r_[np.full(9, 4.0), np.full(191, 0.5)], GOOD, 3.0, None).warnings
    )
    assert line.startswith("9 of the last 200") and "good test images gave 0 % (0.9 % at most" in line


def test_without_good_test_images_alarms_are_counted_and_nothing_is_compared():
    found = drift(np.full(200, 9.0), [], 1.0, None)
    assert found.counted == "200 of the last 200 images raise an alarm (98 to 100 %)" and found.warnings == ()


def test_scores_that_moved_are_told_though_none_passes_the_threshold():
    (line,) = drift(np.full(LEAST_RECENT, 0.93), GOOD, 3.0, None).warnings
    assert line == (
        "the middle score of the last 20 images, 0.93, lies above 90 % of the good test images' (0.902): light, camera "
        "or material changed, or half of the images have defects; look at the overlays"
    )
    (line,) = drift(np.full(LEAST_RECENT, 0.05), GOOD, 3.0, None).warnings
    said = "the middle score of the last 20 images, 0.05, lies below 90 % of the good test images' (0.0977): the camera"
    assert line.startswith(said)
    assert drift(np.full(LEAST_RECENT - 1, 0.95), GOOD, 3.0, None).warnings == ()
    assert drift(np.full(50, 0.95), GOOD[:: 400 // (LEAST_GOOD - 2)][: LEAST_GOOD - 1], 3.0, None).warnings == ()


def row(score: float, **other: object) -> dict[str, object]:
    return {"detector": "a", "threshold_after": 0.5, "normalities": ["x", "y"], "score_after": score, **other}


def test_recent_rows_are_those_judged_alike_the_newest_first(tmp_path):
    write_part(tmp_path / "carpet", [row(1, threshold_after=0.4)])
    write_part(tmp_path / "carpet", [row(2), row(3)])
    write_part(tmp_path / "carpet", [row(4, normalities=["y", "x"])])
    same = tmp_path / "carpet", "a", 0.5
    assert recent(*same, ["x", "y"]) == [4, 3, 2]
    assert recent(*same, ["x"]) == recent(*same[:2], 0.4, ["x", "y"]) == recent(tmp_path / "wood", *same[1:], []) == []
    (tmp_path / "carpet/00000002.parquet").unlink()  # the user's to archive, and all before it
    assert recent(*same, ["x", "y"]) == [4]


def test_no_more_rows_are_read_than_are_looked_at(tmp_path):
    (tmp_path / "carpet").mkdir()
    (tmp_path / "carpet/00000001.parquet").write_bytes(b"never read")
    for start in range(0, RECENT, 50):
        write_part(tmp_path / "carpet", [row(start + i) for i in range(50)])
    assert recent(tmp_path / "carpet", "a", 0.5, ["x", "y"]) == list(range(RECENT - 1, -1, -1))
    (tmp_path / "carpet/00000003.parquet").write_bytes(b"broken")
    with pytest.raises(NandError, match=r"00000003.parquet: not a readable part of rows"):
        recent(tmp_path / "carpet", "a", 0.5, ["x", "y"])


def told(root, good: np.ndarray, monkeypatch, caplog) -> list[str]:
    """What an inspection of ``root`` by ``Brightness`` says; on Prefect's page, in the log."""
    pages: list[str] = []
    monkeypatch.setattr(inspection, "get_run_logger", lambda: logging.getLogger("line"))
    monkeypatch.setattr(inspection, "create_markdown_artifact", lambda text, **_: pages.append(text))
    judges = SimpleNamespace(
        name="brightness",
        of=lambda _: Brightness(),
        good={"carpet": good},
        run=SimpleNamespace(params=SimpleNamespace(evaluation=EvaluationSettings())),
    )
    with caplog.at_level(logging.INFO, "line"):
        inspection._tell_drift({"carpet": inspection._drift(prepared(root), judges, "carpet")})
    return pages


def test_an_inspection_says_it_in_its_log_and_on_the_page(tmp_path, monkeypatch, caplog):
    for number in range(20):
        drop(tmp_path, f"{number}.png", png(200 + number))
    inspect(tmp_path, most=32)
    (page,) = told(tmp_path, np.linspace(0, 60, 4), monkeypatch, caplog)
    (line,) = caplog.messages
    assert page.splitlines()[2:] == [f"| carpet | {line.removeprefix('inspect: carpet: ')} |"]
    assert caplog.messages[0].startswith("inspect: carpet: 20 of the last 20 images raise an alarm (83 to 100 %)")
    assert caplog.records[0].levelno == logging.WARNING


def test_a_line_as_it_was_has_no_page(tmp_path, monkeypatch, caplog):
    for number in range(20):
        drop(tmp_path, f"{number}.png", png(20 + number))
    inspect(tmp_path, most=32)
    assert told(tmp_path, np.linspace(0, 60, 4), monkeypatch, caplog) == []
    assert caplog.messages == [
        "inspect: carpet: 0 of the last 20 images raise an alarm (0 to 17 %), good ones were to give 20 %"
    ]
    (tmp_path / "rows/carpet/00000001.parquet").write_bytes(b"broken")
    (page,) = told(tmp_path, np.linspace(0, 60, 4), monkeypatch, caplog)
    assert "not a readable part of rows" in page
