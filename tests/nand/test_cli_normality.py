"""Listing what is normal, writing generated phrases down, and what ``nand add`` prints."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from nand.cli.app import app
from nand.cli.effect import show_effect
from nand.project.change import Effect
from nand_core.config import load_params
from nand_core.effect import changes, controls, named, too_many_lost
from nand_core.normalities import Normality
from nand_core.operating import effect_rows
from nand_core.settings import EvaluationSettings

PARAMS = """\
dataset: {kind: demo, root: data/demo}
prompts:
  provider: openai  # nobody reads this
  explicit: {}
  normalities:
    carpet:
      - thread
      - loose fibre
detectors:
  april_gan: {kind: april_gan}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.yaml").touch()
    for class_name, group, provider in [
        ("carpet", "thread", "curated"),
        ("carpet", "hole", "explicit"),
        ("carpet", "loose fibre", "openai"),
        ("wood", "knot", "rules"),
    ]:
        path = Path("artifacts/prompts", class_name, f"{group.replace(' ', '_')}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        phrases = [f"{group} mark", f"odd, {group}"]
        made = {"class": class_name, "group": group, "phrases": phrases, "provider": provider}
        path.write_text(json.dumps(made))
    return tmp_path


def nand(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_list_says_what_each_text_is(project):
    said = nand("list")
    assert "carpet │ thread" in said and "loose fibre mark, odd, loose fibre" in said and "openai" in said
    Path("params.yaml").write_text(PARAMS.replace("    carpet:", "    '[red] part [/]':", 1))
    assert "[red] part [/] │ thread" in nand("list"), "a name that looks like markup"
    Path("params.yaml").write_text(PARAMS.replace("    carpet:\n      - thread\n      - loose fibre\n", ""))
    assert "nothing beside the good images" in nand("list")


def test_generated_phrases_are_written_down_to_be_reviewed(project):
    assert "the phrases of 2 texts stand under prompts.explicit" in nand("prompts", "export")
    text = Path("params.yaml").read_text()
    assert "  provider: openai  # nobody reads this\n" in text
    assert "      loose fibre:\n        - loose fibre mark\n        - odd, loose fibre\n" in text
    explicit = load_params(Path("params.yaml")).prompts.explicit
    assert explicit == {
        "carpet": {"loose fibre": ("loose fibre mark", "odd, loose fibre")},
        "wood": {"knot": ("knot mark", "odd, knot")},
    }


def test_the_reviewed_bank_is_written_down_on_demand_and_for_one_class(project):
    nand("prompts", "export", "carpet", "--all")
    assert set(load_params(Path("params.yaml")).prompts.explicit) == {"carpet"}
    assert set(load_params(Path("params.yaml")).prompts.explicit["carpet"]) == {"thread", "loose fibre"}


def effect(added: list[str], factor: float) -> pd.DataFrame:
    """20 good images and two types of three, the threads' scores multiplied."""
    rows = [("carpet", "good", "", f"carpet/test/good/{i:03}.png") for i in range(20)]
    rows += [("carpet", kind, kind, f"carpet/test/{kind}/{i:03}.png") for kind in ("hole", "thread") for i in range(3)]
    manifest = pd.DataFrame(rows, columns=["class", "type", "group", "path"])
    before = np.r_[np.linspace(0.1, 1, 20), 2, 3, 4, 2, 3, 4]
    after = np.where(manifest["type"] == "thread", before * factor, before)
    return effect_rows("a", manifest, added, before, after, EvaluationSettings(false_alarm=0.05))


THREAD = Normality("carpet", "thread", "thread", (), "thread")
FUZZ = Normality("carpet", "fuzz", "", (), "fuzz")


def shown(before, after, *, added: bool = True, one: Normality = THREAD, wrong=None, **more) -> str:
    out = io.StringIO()
    settings = EvaluationSettings(**more)
    show_effect(Console(file=out, width=120), one, Effect(before, after), settings, added=added, wrong=wrong)
    return out.getvalue()


def test_the_effect_of_the_first_normality():
    none, now = effect([], 1).head(0), effect(["thread"], 0.3)
    found = changes(none, now).set_index("id")
    assert found.loc["carpet/test/thread/000.png", ["before", "after", "kept"]].tolist() == [True, False, False]
    assert found.loc["carpet/test/thread/002.png", ["before", "after", "kept"]].tolist() == [True, True, True]
    said = shown(none, now)
    assert said.startswith("a: helps: 2 of 3 of thread pass (0 before); no other alarm is lost\n")
    assert "alarm above 1 before, above 1 now" in said and "now, threshold kept" in said
    assert "pass now: thread 000 001" in said.replace("002", "")
    assert "still raise an alarm: all 3 of hole, thread 002" in said
    assert "lost alarms:" not in said


def test_whose_alarm_a_free_text_takes_is_not_known():
    none, now = effect([], 1).head(0), effect([], 0.3)
    said = shown(none, now, one=FUZZ)
    assert said.startswith("a: 2 of 6 other anomalies lose their alarm\n")
    assert "lost alarms: thread 000 001" in said and "pass now" not in said
    rows = changes(none, now)
    assert too_many_lost(rows, 0.01) == ["a"]
    assert too_many_lost(rows, 0.34) == []
    assert too_many_lost(changes(none, effect(["thread"], 0.3)), 0.0) == []


def test_a_wrong_text_that_does_as_much_takes_the_verdict_back():
    none, now = effect([], 1).head(0), effect(["thread"], 0.3)
    row = {"detector": "a", "class": "carpet", "group": "thread"}
    for passed, verdict in ((66.0, "helps"), (67.0, "no effect")):
        wrong = controls(pd.DataFrame([{**row, "accepted_wrong": passed}]), "carpet", "thread")
        assert wrong == {"a": passed}
        assert shown(none, now, wrong=wrong).startswith(f"a: {verdict}: 2 of 3 of thread pass")


def test_what_changes_no_image_says_so():
    none, now = effect([], 1).head(0), effect([], 1)
    assert shown(none, now, one=FUZZ).startswith("a: changes no image\n")
    assert shown(none, effect(["thread"], 1)).startswith("a: no effect: changes no image\n")


def test_other_defects_that_lose_their_alarm_are_the_verdict():
    none, now = effect([], 1).head(0), effect(["hole"], 0.3)
    hole = replace(THREAD, text="hole", group="hole", name="hole")
    assert shown(none, now, one=hole).startswith(
        "a: harms: 0 of 3 of hole pass (0 before); 2 of 3 other anomalies lose their alarm\n"
    )


def test_the_effect_of_a_second_normality_is_told_from_the_first():
    one, two = effect(["thread"], 0.3), effect(["hole", "thread"], 0.2)
    found = changes(one, two).set_index("id")
    assert found.loc["carpet/test/thread/000.png", ["before", "after"]].tolist() == [False, False]
    assert found.loc["carpet/test/thread/002.png", ["before", "after"]].tolist() == [True, False]
    assert "pass now: thread 002" in shown(one, two)


def test_the_effect_of_removing_the_last():
    one, none = effect(["thread"], 0.3), effect([], 1).head(0)
    said = shown(one, none, added=False)
    assert "new alarms: thread 000 001" in said and "threshold kept" not in said


def test_a_fixed_threshold_is_not_called_moved():
    one, two = effect(["thread"], 0.3), effect(["hole", "thread"], 0.2)
    said = shown(one, two, threshold={"a": 1})
    assert "alarm above the fixed threshold, 1" in said and "threshold kept" not in said
    assert shown(one, two, threshold={"b": 1}) == shown(one, two)


def test_long_lists_are_cut():
    rows = pd.DataFrame({"id": [f"a/test/hole/{i:03}.png" for i in range(20)], "kind": "hole"})
    assert named(rows, pd.Series([True] * 20)) == "all 20 of hole"
    said = named(rows, pd.Series([True] * 15 + [False] * 5))
    assert said.startswith("hole 000 001 ") and said.endswith(" 011 and 3 more")
