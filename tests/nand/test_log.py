"""The log of what was made normal: what is appended, what a kill leaves, what is shown and what can be undone."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from flows.checkout import one_run
from nand.cli.app import app
from nand.project import account, undo
from nand.project.log import BROKEN, LOG, OWED, Alarms, Entry, logged, read, settle
from nand.project.place import STATE
from nand.project.standing import BY_HAND, standings, unlogged
from nand_core.artifacts.store import sha256_file
from nand_core.config import Params, load_params
from nand_core.errors import NandError
from nand_core.prompts.settings import PromptSettings

GROUPS = {"carpet": ("thread",), "wood": ()}
MARK = "0123456789abcdef-mark.png"
ALARMS = {
    "good": Alarms(images=20, alarms_before=1, alarms_after=1),
    "thread": Alarms(images=12, alarms_before=12, alarms_after=0, added=True),
    "hole": Alarms(images=40, alarms_before=36, alarms_after=35),
}


def entry(action: str = "add", text: str = "loose fibre", **more) -> Entry:
    values = {"id": 1, "time": "2026-11-24T02:00:00Z", "who": "Ada <ada@example.org>", "class": "carpet"}
    return Entry.model_validate({**values, "action": action, "text": text, **more})


def settings(*items, class_name: str = "carpet", **prompts) -> str:
    """params.yaml in which these are normal."""
    values = {"dataset": {"kind": "demo", "root": "data"}, "detectors": {"a": {"kind": "april_gan"}}}
    values["prompts"] = {**prompts, "normalities": {class_name: list(items)} if items else None}
    return yaml.safe_dump(values)


def prompts() -> PromptSettings:
    return load_params(Path("params.yaml")).prompts


def make(one: Entry, *items, **options) -> None:
    """A change and its entry."""
    text = settings(*items, **options)
    with logged(one, text):
        Path("params.yaml").write_text(text)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "220")
    Path("params.yaml").write_text(settings())
    Path("dvc.yaml").touch()
    STATE.mkdir()
    return tmp_path


def nand(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    return re.sub(" +", " ", done.output)


def test_entries_are_appended_with_numbers_and_the_digest_of_the_settings(project):
    make(entry(), "loose fibre")
    first = LOG.read_bytes()
    make(entry("remove"))
    assert LOG.read_bytes().startswith(first) and LOG.read_bytes().count(b"\n") == 2
    log = read(prompts())
    assert [(one.id, one.action) for one in log.entries] == [(1, "add"), (2, "remove")] and not log.faults
    assert log.entries[1].versions.params == sha256_file(Path("params.yaml"))
    assert not OWED.exists()


def test_what_did_not_take_place_is_not_logged(project):
    with pytest.raises(KeyboardInterrupt), logged(entry(), settings("loose fibre")):
        raise KeyboardInterrupt
    assert not LOG.exists() and not OWED.exists()


@pytest.mark.parametrize("changed", [True, False])
def test_an_entry_that_a_killed_run_owes_is_known_and_then_paid(project, changed, monkeypatch):
    make(entry(text="thread"), "thread")
    with monkeypatch.context() as killed:
        killed.setattr("nand.project.log.settle", lambda: None)
        with logged(entry(), settings("thread", "loose fibre")):
            if changed:
                Path("params.yaml").write_text(settings("thread", "loose fibre"))
    assert [one.id for one in read(prompts()).entries] == [1, 2][: 1 + changed]
    assert LOG.read_text().count("\n") == 1, "reading writes nothing"
    settle()
    settle()
    assert [one.id for one in read(prompts()).entries] == [1, 2][: 1 + changed]
    assert LOG.read_text().count("\n") == 1 + changed and not OWED.exists()


def test_a_kill_after_the_entry_was_appended_does_not_append_it_twice(project):
    make(entry(), "loose fibre")
    OWED.write_text(LOG.read_text())
    assert len(read(prompts()).entries) == 1
    settle()
    assert LOG.read_text().count("\n") == 1


def test_a_half_written_last_line_is_named_and_set_aside(project, capsys):
    make(entry(), "loose fibre")
    whole = LOG.read_bytes()
    LOG.write_bytes(whole + whole[:40])
    log = read(prompts())
    assert len(log.entries) == 1 and "half-written, by a run that was killed" in log.faults[0]
    assert LOG.read_bytes() == whole + whole[:40]
    settle()
    assert LOG.read_bytes() == whole and BROKEN.read_bytes() == whole[:40]
    assert f"set aside as {BROKEN}" in capsys.readouterr().err
    make(entry("remove"))
    assert [one.id for one in read(prompts()).entries] == [1, 2]


def test_a_missing_last_line_break_is_put_back(project):
    make(entry(), "loose fibre")
    LOG.write_bytes(LOG.read_bytes()[:-1])
    settle()
    make(entry("remove"))
    assert [one.id for one in read(prompts()).entries] == [1, 2]


def test_lines_of_a_later_version_and_strange_ones_stay(project):
    make(entry(), "loose fibre")
    later = {**json.loads(LOG.read_text()), "id": 7, "mood": "fine", "versions": {"nand": "9", "moon": 1}}
    LOG.write_text(LOG.read_text() + "<<<<<<< main\n" + json.dumps(later) + "\n")
    make(entry("remove"))
    log = read(prompts())
    assert [one.id for one in log.entries] == [1, 7, 8] and json.loads(log.lines[1]) == later
    assert log.faults == ("normalities.jsonl, line 2: no entry, it is left out",)
    assert "<<<<<<< main" in LOG.read_text()


def test_writers_take_turns(project):
    def write(number: int) -> None:
        with one_run(STATE):
            settle()
            held = [one.text for entries in prompts().normalities.values() for one in entries]
            make(entry(text=f"text {'abcdefgh'[number]}"), *held, f"text {'abcdefgh'[number]}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    log = read(prompts())
    assert [one.id for one in log.entries] == list(range(1, 9)) and not log.faults
    assert len({one.text for one in log.entries}) == 8


def test_a_full_disk_stops_the_change_before_the_settings(project, small_disk):
    disk = small_disk(STATE)
    disk.fill()
    with pytest.raises(NandError, match="No space left on device"):
        make(entry(), "loose fibre")
    assert Path("params.yaml").read_text() == settings() and not LOG.exists()


def test_what_became_of_each_entry(project):
    make(entry(), "loose fibre")
    make(entry("remove", undoes=1))
    make(entry(), "loose fibre")
    make(entry("remove"))
    make(entry(text="broken_large", group="broken_large"), "broken large")
    states = [(one.holds, one.state) for one in standings(read(prompts()).entries, prompts())]
    assert states == [
        (False, "undone by 2"),
        (False, "added again by 3"),
        (False, "removed by 4"),
        (True, "removed"),
        (True, "holds"),
    ]


def test_what_was_edited_by_hand_is_told_from_what_was_logged(project):
    make(entry(), "loose fibre")
    make(entry(text="fuzz", phrases=["grey fuzz"]), "loose fibre", {"fuzz": ["grey fuzz"]})
    make(entry("remove", "stain"), "loose fibre", {"fuzz": ["grey fuzz"]})
    Path("params.yaml").write_text(settings({"fuzz": ["green fuzz"]}, "stain", "blot"))
    log = read(prompts())
    assert [(one.holds, one.state) for one in standings(log.entries, prompts())] == [
        (False, "no longer in params.yaml, not by nand remove (edited by hand)"),
        (False, "edited by hand since"),
        (False, f"stands there again, {BY_HAND}"),
    ]
    assert [text for _, text in unlogged(log.entries, prompts())] == ["stain", "blot"]
    said = nand("log")
    assert f"│ carpet │ 'blot' │ – │ holds; {BY_HAND} │" in said


def test_the_log_is_shown_newest_first_and_as_it_stands(project):
    assert nand("log") == "no log yet: normalities.jsonl begins with the first nand add or nand remove\n"
    shown = {"like": [{"image": MARK, "box": [1, 2, 3, 4]}], "unlike": [{"image": MARK}], "asked": False}
    make(entry(text="thread", group="thread", effect={"a": ALARMS}, lost={"a": 1}), "thread")
    make(entry("remove", "thread", who="[b]Bo[/b]", effect={"a": ALARMS}))
    item = {"mark": {"like": [{"image": MARK, "box": [1, 2, 3, 4]}], "unlike": [MARK.replace("0", "1", 1)]}}
    shown["unlike"] = [{"image": MARK.replace("0", "1", 1)}]
    make(entry(text="mark", **{"class": "wood"}, **shown), item, class_name="wood")
    said = nand("log")
    assert "│ 3 │ 2026-11-24 02:00:00 │ Ada │ wood │ added 'mark', 1 example, 1 unlike │ │ holds │" in said
    assert "│ 2 │ 2026-11-24 02:00:00 │ [b]Bo[/b] │ carpet │ removed 'thread' │ a: thread 12 → 0 of 12," in said
    assert "added 'thread' │ a: thread 12 → 0 of 12, hole 36 → 35 of 40; lost 1 of 36 │ removed by 2 │" in said
    assert said.index("│ 3 │") < said.index("│ 2 │") < said.index("│ 1 │")
    assert "│ 3 │" not in nand("log", "carpet")
    assert "did you mean 'wood'?" in nand("log", "woods", code=1)
    assert nand("log", "--json") == LOG.read_text()
    assert [json.loads(line)["id"] for line in nand("log", "wood", "--json").splitlines()] == [3]


def test_what_cannot_be_undone_is_said_in_one_line(project):
    assert "the log has no entry 1, it is empty" in nand("undo", "1", code=1)
    make(entry(), "loose fibre")
    make(entry("remove", undoes=1))
    make(entry(), "loose fibre")
    make(entry(text="fuzz"), "loose fibre", {"fuzz": ["green fuzz"]})
    LOG.write_text(LOG.read_text() + LOG.read_text().splitlines(keepends=True)[2])
    for number, reason in {
        1: r"entry 1 \(carpet, 'loose fibre'\): undone by 2",
        2: "added again by 3",
        3: "has 2 entries 3, of merged branches",
        9: "no entry 9, it has 1 to 3",
    }.items():
        said = nand("undo", str(number), code=1)
        assert said.startswith("error: ") and re.search(reason, said) and said.count("\n") == 1


def plan_of(number: int):
    params: Params = load_params(Path("params.yaml"))
    with undo.undoing(number) as (class_name, plan):
        assert class_name == "carpet"
        return plan(params, GROUPS)


def test_an_added_text_is_taken_out_and_a_removed_one_put_back_with_all_that_it_had(project):
    before = settings({"fuzz": ["grey fuzz", "ball of fuzz"]}, "thread", "blot")
    Path("params.yaml").write_text(before)
    make(entry("remove", "fuzz", phrases=["grey fuzz", "ball of fuzz"]), "thread", "blot")
    change = plan_of(1)
    assert (change.added, change.undoes, change.normality.phrases) == (True, 1, ("grey fuzz", "ball of fuzz"))
    written = yaml.safe_load(change.edit(Path("params.yaml").read_text()))["prompts"]["normalities"]["carpet"]
    assert written == ["thread", "blot", {"fuzz": ["grey fuzz", "ball of fuzz"]}]
    make(entry("remove", "blot", explicit=["ink", "dark blot"], strength=0.5), "thread")
    written = yaml.safe_load(plan_of(2).edit(Path("params.yaml").read_text()))["prompts"]
    assert written["normalities"] == {"carpet": ["thread", {"blot": {"strength": 0.5}}]}
    assert written["explicit"] == {"carpet": {"blot": ["ink", "dark blot"]}}
    make(entry(text="stain"), "thread", "stain")
    change = plan_of(3)
    assert (change.added, change.undoes) == (False, 3)
    assert change.edit(Path("params.yaml").read_text()) == settings("thread")


def test_examples_whose_files_are_gone_are_named_with_what_brings_them_back(project):
    make(entry(text="mark", like=[{"image": MARK}], asked=False), {"mark": {"like": [MARK]}})
    make(entry("remove", "mark", like=[{"image": MARK}], asked=False))
    with pytest.raises(NandError, match=rf"artifacts/examples/carpet/{MARK}: .* 'dvc fetch --all-commits'"):
        plan_of(2)


def test_who_it_was(project, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.delenv(account.USER, raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert account.who() == "ada"
    Path("config").write_text("[user]\n name = Ada Lovelace\n email = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(Path("config").absolute()))
    assert account.who() == "Ada Lovelace <ada@example.org>"
    monkeypatch.setenv(account.USER, "line 3,\n evening shift")
    assert account.who() == "line 3, evening shift"


def rows(added: str, **alarms: tuple[int, int]) -> pd.DataFrame:
    """Rows of results/normalities.parquet: of each kind four images, so many of which raise an alarm before, after."""
    values = [
        {"detector": "a", "id": f"{kind}/{i}", "type": kind, "group": "" if kind == "good" else kind,
         "added": kind == added, "score_before": float(i < before), "score_after": float(i < after),
         "threshold_before": 0.5, "threshold_after": 0.5, "alarm_before": i < before, "alarm_after": i < after}
        for kind, (before, after) in alarms.items()
        for i in range(4)
    ]  # fmt: skip
    return pd.DataFrame(values)


def test_the_effect_is_against_the_state_before_the_change(project):
    first = rows("thread", good=(1, 1), thread=(4, 1), hole=(3, 2))
    second = rows("thread", good=(1, 0), thread=(4, 1), hole=(3, 0))
    effect, lost = account.effect_of(first.head(0), first)
    assert effect["a"]["thread"] == Alarms(images=4, alarms_before=4, alarms_after=1, added=True)
    assert effect["a"]["hole"] == Alarms(images=4, alarms_before=3, alarms_after=2) and lost == {"a": 1}
    effect, lost = account.effect_of(first, second)
    assert effect["a"]["good"] == Alarms(images=4, alarms_before=1, alarms_after=0)
    assert effect["a"]["hole"] == Alarms(images=4, alarms_before=2, alarms_after=0) and lost == {"a": 2}
    effect, lost = account.effect_of(second, second.head(0))
    assert effect["a"]["hole"] == Alarms(images=4, alarms_before=0, alarms_after=3) and lost == {"a": 0}
    assert account.effect_of(first.head(0), first.head(0)) == ({}, {})
