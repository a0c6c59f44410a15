"""Edits of params.yaml: the lines concerned and no other byte."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nand.project.params_file import append, discard, read, write
from nand.project.stages import declared_stages
from nand_core.errors import NandError
from nand_core.yaml12 import load

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))]
KEYS = ("prompts", "normalities", "carpet")


def delta(before: str, after: str) -> list[str]:
    """The lines that ``git diff`` would mark."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_settings_get_lines_more_and_lose_them_again(path):
    text = path.read_text()
    one = append(text, KEYS, ["loose fibre"])
    assert all(line[0] == "+" for line in delta(text, one))
    assert delta(text, one)[-2:] == ["+    carpet:", "+      - loose fibre"]
    two = append(one, KEYS, [{"fuzz": ["grey fuzz", "ball of fuzz, grey"]}])
    assert delta(one, two) == ["+      - fuzz: [grey fuzz, 'ball of fuzz, grey']"]
    three = append(two, ("prompts", "normalities", "wood"), ["knot"])
    assert delta(two, three) == ["+    wood:", "+      - knot"]
    fuzz = yaml.safe_load(two)["prompts"]["normalities"]["carpet"][1:]
    assert discard(two, KEYS, lambda item: item == "loose fibre") == append(text, KEYS, fuzz)
    assert discard(three, ("prompts", "normalities", "wood"), lambda _: True) == two
    assert discard(one, KEYS, lambda _: True) == text


def test_the_demo_settings_gain_two_lines():
    text = (ROOT / "params.yaml").read_text()
    assert delta(text, append(text, KEYS, ["thread"])) == ["+    carpet:", "+      - thread"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "prompts:\n  normalities:\n    carpet:\n      - fibre\n"),
        ("a: 1", "a: 1\nprompts:\n  normalities:\n    carpet:\n      - fibre\n"),
        ("prompts:", "prompts:\n  normalities:\n    carpet:\n      - fibre\n"),
        (
            "prompts:\n  normalities: {}  # c\nz: 1\n",
            "prompts:\n  normalities:  # c\n    carpet:\n      - fibre\nz: 1\n",
        ),
        ("prompts:\n  normalities: ~\n", "prompts:\n  normalities:\n    carpet:\n      - fibre\n"),
        ("prompts: {provider: auto}\n", "prompts: {provider: auto, normalities: {carpet: [fibre]}}\n"),
        ("prompts: {normalities: {}}\n", "prompts: {normalities: {carpet: [fibre]}}\n"),
        (
            "prompts:\n  normalities: {wood: [knot]} # c\n",
            "prompts:\n  normalities: {wood: [knot], carpet: [fibre]} # c\n",
        ),
        (
            "prompts:\n    normalities:\n        carpet: [a]  # c\n",
            "prompts:\n    normalities:\n        carpet: [a, fibre]  # c\n",
        ),
        (
            "prompts:\n  normalities:\n    carpet:  # c\n    - a # d\n    # e\n\nz: 1\n",
            "prompts:\n  normalities:\n    carpet:  # c\n    - a # d\n    - fibre\n    # e\n\nz: 1\n",
        ),
        (
            "prompts:\n  normalities:\n    carpet:\n      - a:\n        - b\n        - c # d\nz: 1\n",
            "prompts:\n  normalities:\n    carpet:\n      - a:\n        - b\n        - c # d\n      - fibre\nz: 1\n",
        ),
    ],
)  # fmt: skip
def test_whatever_the_file_looks_like(before, after):
    assert append(before, KEYS, ["fibre"]) == after
    assert yaml.safe_load(after)["prompts"]["normalities"]["carpet"][-1] == "fibre"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("prompts: {normalities: {wood: [knot], carpet: [fibre]}}\n", "prompts: {normalities: {wood: [knot]}}\n"),
        ("prompts:\n  normalities: {carpet: [a, fibre]}\n", "prompts:\n  normalities: {carpet: [a]}\n"),
        (
            "prompts: {'normalities': {wood: [ knot,Y ], 'carpet': [ fibre , a,fibre ,  \"b\", fibre, ] , z: [1e3]}}\n",
            "prompts: {'normalities': {wood: [ knot,Y ], 'carpet': [ a ,  \"b\", ] , z: [1e3]}}\n",
        ),
        ("prompts: {normalities: {'carpet': [fibre], wood: ['knot' ,Y], }}\n",
         "prompts: {normalities: {wood: ['knot' ,Y], }}\n"),
        ("prompts:\n  normalities: # c\n    carpet: [fibre]\nz: 1\n", "prompts:\n  normalities: # c\nz: 1\n"),
        ("a: 1\nprompts:\n  normalities:\n    carpet:\n      - fibre", "a: 1\n"),
        (
            "prompts:\n  normalities:\n    carpet:\n      # c\n      - fibre # d\n      - a\n",
            "prompts:\n  normalities:\n    carpet:\n      # c\n      - a\n",
        ),
    ],
)
def test_an_item_goes_with_its_line_and_the_last_with_its_list(before, after):
    assert discard(before, KEYS, lambda item: item == "fibre") == after


@pytest.mark.parametrize(
    "text",
    [
        "prompts:\n  normalities: fibre\n",
        "prompts: [a]\n",
        "prompts:\n  normalities:\n    carpet: {a: 1}\n",
        "base: &b {wood: [knot]}\nprompts:\n  normalities: *b\n",
    ],
)
def test_what_cannot_be_edited_safely_is_refused(text):
    with pytest.raises(NandError, match=r"^prompts\.normalities\.carpet: .*edit it by hand"):
        append(text, KEYS, ["fibre"])


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
LISTS = st.lists(TEXTS, min_size=1, max_size=3, unique=True)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(TEXTS, LISTS, max_size=3), TEXTS, TEXTS, st.booleans())
def test_any_names_survive(held, class_name, text, flow):
    values = {"prompts": {"normalities": held}, "z": 1}
    before = yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True, width=10_000)
    after = append(before, ("prompts", "normalities", class_name), [text])
    wanted = {**held, class_name: [*held.get(class_name, []), text]}
    assert yaml.safe_load(after) == {"prompts": {"normalities": wanted}, "z": 1}
    if text not in held.get(class_name, []) and held:
        assert discard(after, ("prompts", "normalities", class_name), lambda item: item == text) == before


LIKE_VALUES = [
    *("12e5", "1e3", "1E5", "0o17", "007", "08", "0x1F", "0b11", "1_000", ".5", "1.", "+.inf", ".nan", "2024-01-01"),
    *("no", "on", "off", "Yes", "y", "N", "true", "TRUE", "null", "Null", "~", "1:30", "12:30:45", "<<", "=", "-", "?"),
    *("#a", "a #b", "a: b", "a:", "@a", "%a", "&a", "*a", "!a", "[a", "{a", "'a", '"a', "a'b", "a\\b", "\ufeffa"),
    *("...", "---"),
]
READERS = {"1.2, as DVC": YAML(typ="safe").load, "1.1": yaml.safe_load, "ours": load}


@pytest.mark.parametrize("name", LIKE_VALUES)
@pytest.mark.parametrize("before", ["prompts:\n  normalities:\n    a: [b]\n", "prompts: {normalities: {a: [b]}}\n"])
def test_a_name_is_a_name_to_every_reader(name, before):
    keys = ("prompts", "normalities", name)
    after = append(append(before, keys, [name]), keys, [{name: [name]}])
    for reader in READERS.values():
        assert reader(after)["prompts"]["normalities"][name] == [name, {name: [name]}]
    assert load(discard(after, keys, lambda _: True)) == load(before)
    assert append(discard(after, keys, lambda item: item == name), keys, [name]).count("\n") == after.count("\n")


@pytest.mark.parametrize("name", ["12e5", "1e3", "0o17", "no", "on", "1:30", "007", "null", "2024-01-01"])
def test_a_key_written_by_hand_is_the_name_that_stands_there(name):
    text = f"prompts:\n  normalities:\n    {name}:  # by hand\n      - a\n"
    after = append(text, ("prompts", "normalities", name), ["fibre"])
    assert after == text + "      - fibre\n"
    assert load(after) == {"prompts": {"normalities": {name: ["a", "fibre"]}}}


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_line_breaks_stay_as_they_are(path, end, tmp_path):
    unix = path.read_text()
    copy = tmp_path / "params.yaml"
    copy.write_bytes(unix.replace("\n", end).encode())
    copy.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to(copy)
    edited = append(append(read(copy), KEYS, ["loose fibre"]), KEYS, [{"fuzz": ["grey fuzz"]}])
    write(tmp_path / "link.yaml", edited)
    wanted = append(append(unix, KEYS, ["loose fibre"]), KEYS, [{"fuzz": ["grey fuzz"]}])
    assert copy.read_bytes() == wanted.replace("\n", end).encode()
    assert copy.stat().st_mode & 0o777 == 0o640 and (tmp_path / "link.yaml").is_symlink()
    assert discard(edited, KEYS, lambda _: True) == unix.replace("\n", end)


def test_a_mark_of_utf8_and_a_missing_last_line_break_do_no_harm():
    assert append("\ufeffa: 1\r\nb: 2", KEYS[:1], ["c"]) == "\ufeffa: 1\r\nb: 2\r\nprompts:\r\n  - c\r\n"


def test_a_detectors_name_is_one_for_its_stage_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {on: {cmd: x}, base_maps: {foreach: y, do: {cmd: x}}}")
    Path("params.yaml").write_text("detectors: {no: {kind: april_gan}, off: {kind: april_gan}}")
    assert declared_stages() == ["on", "base_maps@no", "base_maps@off"]
