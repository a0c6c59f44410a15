"""The page's parts, each alone: what it says, what it asks before a change, the line's day, its pictures."""

from __future__ import annotations

import io
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.inbox.rows import write_part
from nand.page import change, jobs
from nand.page.change import MEANWHILE, Job, carry_out
from nand.page.draft import for_operators
from nand.page.inbox import day_of, line_image
from nand.page.jobs import Jobs
from nand.page.pictures import overlay, picture
from nand.page.preview import agreement, lost_ids
from nand.page.sent import MOST, keep, sent_image
from nand.page.shell import templates
from nand.page.snapshot import digest_now
from nand.page.views import histograms, question, said, shown, stood, times
from nand.project.change import Effect, Stopped
from nand_core.artifacts.store import sha256_file
from nand_core.effect import changes
from nand_core.errors import NandError
from nand_core.operating import EFFECT_COLUMNS
from nand_core.settings import EvaluationSettings

HOSTILE = "<img src=x onerror=alert(1)>\"'"


def effect(*alarms: tuple[str, str, bool, bool]) -> pd.DataFrame:
    """Rows of ``results/normalities.parquet``: (id, type, alarm before, after) by one detector."""
    rows = [
        {
            "detector": "d", "class": "c", "id": name, "type": kind, "group": "" if kind == "good" else kind,
            "added": False, "score_before": 1.0 + was, "score_after": 1.0 + now, "threshold_before": 1.5,
            "threshold_after": 1.5, "alarm_before": was, "alarm_after": now, "alarm_kept": now,
        }
        for name, kind, was, now in alarms
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(EFFECT_COLUMNS))


NOTHING = effect()
LOSES = effect(("h0", "hole", True, False), ("h1", "hole", True, True), ("g0", "good", False, False))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("dataset: {kind: demo}\n")
    return tmp_path


def carried(monkeypatch, job: Job, answer: bool, *, found: pd.DataFrame = LOSES) -> tuple[dict, list[dict]]:
    """A job whose effect is ``found``: how it ends, and what it told meanwhile."""

    def apply(class_name, plan, show, agree, tell):
        tell("checking")
        if not agree(None, Effect(NOTHING, found)):
            raise Stopped(3, "params.yaml is as it was")

    monkeypatch.setattr(change, "apply", apply)
    told: list[dict] = []
    return carry_out(job, told.append, lambda: answer), told


@pytest.mark.parametrize(("answer", "end"), [(True, {"done": True}), (False, {"stopped", "status"})])
def test_lost_alarms_are_asked_about_and_the_answer_decides(project, monkeypatch, answer, end):
    job = Job(what="add", digest=digest_now(), class_name="c", text="t")
    ended, told = carried(monkeypatch, job, answer)
    assert told == [{"step": "checking"}, {"question": {"d": ["h0"]}}]
    assert ended == end or set(ended) == end


def test_what_somebody_agreed_to_is_not_asked_again_but_more_is(project, monkeypatch):
    agreed = agreement(lost_ids(changes(NOTHING, LOSES)))
    job = Job(what="add", digest=digest_now(), class_name="c", text="t", agreed=agreed)
    assert carried(monkeypatch, job, False) == ({"done": True}, [{"step": "checking"}])
    more = effect(("h0", "hole", True, False), ("h1", "hole", True, False))
    _, told = carried(monkeypatch, job, False, found=more)
    assert told[-1] == {"question": {"d": ["h0", "h1"]}}


def test_whoever_was_slower_is_told_and_nothing_is_changed(project, monkeypatch):
    monkeypatch.setattr(change, "apply", lambda name, plan, show, agree, tell: plan(None, {}))
    job = Job(what="add", digest="0" * 64, class_name="c", text="t")
    assert carry_out(job, print, lambda: True) == {"failed": MEANWHILE}


PROGRAM = """
import json, sys
job = json.loads(sys.stdin.readline())
say = lambda **event: print(chr(30) + "nand " + json.dumps(event), flush=True)
say(step="computing")
if job["text"] == "fails":
    print("error: the disk is full", flush=True); sys.exit(1)
say(question={"d": ["h0"]})
say(**({"done": True} if sys.stdin.readline() == "yes\\n" else {"stopped": "params.yaml is as it was", "status": 3}))
"""


def until(true) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def work(project):
    made = Jobs([sys.executable, "-c", PROGRAM])
    yield made
    made.close()


def test_a_change_is_followed_to_its_end_one_at_a_time(work):
    one = work.start(Job(what="add", digest="x", text="a"), "Ada")
    until(lambda: one.step == "asking")
    assert one.question == {"d": ["h0"]}
    with pytest.raises(NandError, match="another change is at work; yours stays here"):
        work.start(Job(what="add", digest="x", text="b"), "Bob")
    with pytest.raises(NandError, match="asks nothing"):
        work.answer(7, True)
    work.answer(one.number, True)
    until(lambda: one.over)
    assert (one.step, one.message) == ("done", "")
    two = work.start(Job(what="add", digest="x", text="fails"), "Bob")
    until(lambda: two.over)
    assert (two.number, two.step, two.message) == (2, "failed", "the disk is full")


def test_a_question_that_nobody_answers_ends_with_no(work, monkeypatch):
    one = work.start(Job(what="add", digest="x", text="a"), "")
    until(lambda: one.step == "asking")
    work.tend()
    assert one.step == "asking"
    monkeypatch.setattr(jobs, "PATIENCE", -1.0)
    work.tend()
    until(lambda: one.over)
    assert (one.step, one.message) == ("failed", "nothing is changed")


def test_the_sentence_is_one_of_an_operator():
    rows = changes(NOTHING, LOSES)
    assert said(rows, "d", "", EvaluationSettings(), {}) == "1 of 2 faults would be let through"
    assert said(rows, "d", "dent", EvaluationSettings(), {}) == "1 of 2 other faults would be let through"
    unchanged = changes(NOTHING, effect(("h1", "hole", True, True)))
    assert said(unchanged, "d", "", EvaluationSettings(), {}) == "Nothing changes for any image"


def test_what_became_of_an_entry_is_said_without_the_words_of_the_command_line():
    assert [stood(one) for one in ("holds", "removed", "removed by 2", "undone by 12")] == [
        "holds", "taken back", "taken back by number 2", "undone by number 12",
    ]  # fmt: skip
    assert stood("edited, not by nand add (by hand)") == "edited, not by this page or nand add (by hand)"


def test_a_score_is_said_in_limits():
    assert [times(*one) for one in ((3.0, 2.0), (1.9996, 2.0), (2.0, 2.0))] == [
        "1.5 × the limit", "0.9998 × the limit", "1.0 × the limit",
    ]  # fmt: skip
    assert times(3.14159, float("nan")) == "score 3.14"


def test_a_histogram_counts_every_image_once():
    now, then = histograms(LOSES, (1.5, float("nan")))
    assert now.says == "2 of 2 faults and 0 good images rejected" and now.limit == pytest.approx(73.53, abs=0.1)
    assert then.says == "1 of 2 faults and 0 good images rejected" and then.limit == -1
    assert [(bar.good, bar.faults) for bar in now.bars] == [(50.0, 0.0), (0.0, 100.0)]
    assert [(bar.good, bar.faults) for bar in then.bars] == [(50.0, 50.0), (0.0, 50.0)]


def test_names_and_texts_are_escaped():
    row = {"key": "a" * 16, "number": 0, "kind": HOSTILE, "good": False, "score": 2.0, "limit": 1.0, "rejected": True}
    state = pd.DataFrame([row | {"counted": True, "width": 8, "height": 6}], index=[HOSTILE])
    snapshot = SimpleNamespace(digest="0" * 64, detectors=("d",))
    view = SimpleNamespace(name=HOSTILE, snapshot=snapshot, state=lambda detector: state)
    asked = question(view, {"d": [HOSTILE]})
    html = templates().get_template("question.html.j2").render(view=view, text=HOSTILE, **asked)
    assert html.count("&lt;img") == 3 and "<img src=x" not in html and "%3Cimg%20src%3Dx" in html
    assert len(shown(state, HOSTILE)) == 1


def row(name: str, when: datetime, alarm: bool) -> dict:
    scores = {f"{what}_{side}": 2.0 for what in ("score", "threshold") for side in ("before", "after")}
    alarms = {"alarm_before": alarm, "alarm_after": alarm}
    named = {"class": "c", "name": name, "id": name[:1] * 16, "sha256": "0" * 64, "time": when, "detector": "d"}
    return {**named, **scores, **alarms, "normalities": [], "commit": "", "overlay": ""}


def test_the_lines_day_by_hour(tmp_path):
    noon = datetime(2026, 3, 10, 12, 30).astimezone()
    times_ = [noon - timedelta(days=2), noon - timedelta(hours=1), noon, noon + timedelta(minutes=1)]
    rows = [row(f"{n}.png", when.astimezone(UTC), n in (1, 3)) for n, when in enumerate(times_)]
    write_part(tmp_path / "rows" / "c", rows[:2])
    write_part(tmp_path / "rows" / "c", rows[2:])
    found = day_of(tmp_path, "c", date(2026, 3, 10))
    assert (found.images, found.alarms, found.before) == (3, 2, date(2026, 3, 8))
    assert found.hours[11] == (1, 1) and found.hours[12] == (2, 1)
    assert [one.name for one in found.rejected] == ["3.png", "1.png"]
    assert day_of(tmp_path, "c", date(2026, 3, 9)).images == 0
    assert day_of(tmp_path, "other", date(2026, 3, 9)).images == 0


def test_an_image_of_the_line_is_no_link(tmp_path):
    (tmp_path / "done/c").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / f"done/c/{'a' * 16}-x.png").symlink_to(tmp_path / "secret")
    with pytest.raises(NandError, match=r"not in .* any more"):
        line_image(tmp_path, "c", "a" * 16)


def png(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "grey").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (f".nand/page/sent/{'a' * 16}-of_the_phone.png: is 9 x 9 pixels", "of_the_phone.png: is 9 x 9 pixels"),
        (f"my line/done/c/{'a' * 16}-7.png: is no image", "7.png: is no image"),
        (f"{'a' * 16}-7.png: shows nothing", "7.png: shows nothing"),
        ("0.png: say where to look with --box or --mask", "0.png: draw a box around what you mean"),
        ("9 examples, but s.examples allows 5; leave some out or raise it", "9 images, at most 5; leave some out"),
        ("no class is called 'c'", "no class is called 'c'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_without_the_words_of_the_command_line(theirs, ours):
    assert for_operators(NandError(theirs)) == ours


def test_a_sent_image_is_kept_by_content_and_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr("nand.page.sent.MOST", 2)
    keys = [keep("../../of the phone.png", png(side), tmp_path) for side in (8, 9, 10, 10)]
    assert MOST > 2 and len({*keys}) == 3 and len(list(tmp_path.iterdir())) == 2
    assert sent_image(keys[2], tmp_path).name == f"{keys[2]}-of_the_phone.png"
    with pytest.raises(NandError, match="send it again"):
        sent_image(keys[0], tmp_path)


def test_a_small_picture_is_made_once(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(600))
    sha256, folder = sha256_file(path), tmp_path / "made"
    with pytest.raises(NandError, match=r"a\.png: has changed since"):
        picture(path, "ab" * 32, "small", folder)
    assert not folder.exists(), "no picture of another image is kept under this content"
    data = picture(path, sha256, "small", folder)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 256))
    path.unlink()
    assert picture(path, sha256, "small", folder) == data


def test_an_overlay_hides_nothing_where_nothing_is_seen():
    final = np.zeros((4, 4), np.float32)
    final[0, 0] = 3
    with Image.open(io.BytesIO(overlay(final, 1.0))) as image:
        opacity = np.asarray(image)[..., 3]
    assert opacity[0, 0] == 255 and not opacity.any(where=np.arange(16).reshape(4, 4) > 0)
