from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nand_core.prompts.templates import (
    ABNORMAL_STATES,
    NORMAL_STATES,
    TEMPLATES,
    abnormal_sentences,
    normal_sentences,
    object_name,
    sentences,
)

ORACLE = Path(os.environ.get("NAND_ORACLE") or Path(__file__).parents[1] / "data" / "oracle")


def test_templates_and_states_are_the_published_ones():
    published = json.loads((ORACLE / "april_prompts.json").read_text(encoding="utf-8"))
    assert list(TEMPLATES) == published["templates"]
    assert list(NORMAL_STATES) == published["normal_states"]
    assert list(ABNORMAL_STATES) == published["abnormal_states"]


def test_states_hold_the_object_before_they_enter_the_templates():
    normal, abnormal = normal_sentences("bottle"), abnormal_sentences("bottle")
    assert len(normal) == 7 * 35
    assert len(abnormal) == 5 * 35
    assert normal[0] == "a bad photo of a bottle."
    assert normal[35] == "a bad photo of a flawless bottle."
    assert abnormal[-1] == "this is one bottle with damage in the scene."


def test_underscores_of_a_class_become_spaces():
    assert object_name("metal_nut") == "metal nut"
    assert normal_sentences("metal_nut")[14] == "a photo of the metal nut."


@given(st.lists(st.text(max_size=12), max_size=4))
def test_every_phrase_stands_in_every_template(phrases):
    made = sentences(phrases)
    assert len(made) == 35 * len(phrases)
    for i, phrase in enumerate(phrases):
        assert made[35 * i + 18] == f"a photo of a {phrase}."


def test_other_templates_can_be_given():
    assert sentences(["a", "b"], ["x {}", "{} y"]) == ["x a", "a y", "x b", "b y"]
