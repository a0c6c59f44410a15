"""Edits of params.yaml: the lines concerned and no other byte."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nand.project.params_file import append, discard
from nand_core.errors import NandError

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
