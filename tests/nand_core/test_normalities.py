"""Which normalities hold, under what names, and what is refused."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nand_core.config import Params, check_names
from nand_core.errors import NandError
from nand_core.normalities import current, known_groups, resolve, slug
from nand_core.prompts.clean import clean
from nand_core.prompts.settings import Added, PromptSettings

GROUPS = {"carpet": ("glue_strip", "hole", "thread"), "wood": ()}


def held(**normalities) -> list:
    return current(PromptSettings(normalities=normalities), GROUPS)


def test_a_text_is_a_labelled_group_or_has_a_file_of_its_own():
    made = {n.text: n for n in held(carpet=["Thread", "glue strip", "Loose  Fibre."], wood=["knot"])}
    assert set(made) == {"thread", "glue_strip", "loose fibre", "knot"}
    assert (made["thread"].name, made["thread"].group, made["thread"].apart) == ("thread", "thread", False)
    assert made["glue_strip"].group == "glue_strip"
    assert (made["loose fibre"].name, made["loose fibre"].group, made["loose fibre"].apart) == ("loose_fibre", "", True)


def test_a_labelled_group_with_phrases_of_its_own_leaves_the_protocols_files_alone():
    (made,) = held(carpet=[{"thread": ["A loose thread.", "loose thread"]}])
    assert (made.text, made.group, made.phrases, made.apart) == ("thread", "thread", ("loose thread",), True)
    assert made.name.startswith("thread-") and made.name not in GROUPS["carpet"]


def test_the_order_has_no_effect():
    entries = ["thread", "loose fibre", {"fuzz": ["grey fuzz"]}]
    assert held(carpet=entries) == held(carpet=entries[::-1])


@pytest.mark.parametrize("empty", [None, {}, {"carpet": None}, {"carpet": []}])
def test_an_empty_section_is_none(empty):
    assert current(PromptSettings(normalities=empty), GROUPS) == []


@pytest.mark.parametrize(
    ("normalities", "message"),
    [
        ({"carpet": ["{}"]}, r"prompts\.normalities\.carpet: the phrase '\{\}' has the character"),
        ({"carpet": [{"fuzz": ["{}"]}]}, r"prompts\.normalities\.carpet\.fuzz: the phrase"),
        ({"carpet": ["fuzz", "A fuzz."]}, r"prompts\.normalities\.carpet: 'fuzz' stands there twice"),
        ({"carpet": [{"a": [], "b": []}]}, "one text with its phrases"),
        ({"carpet": [{"a": "b"}]}, "normalities.carpet.0.phrases"),
        ({"carpet": [{"a": {"text": "b"}}]}, "'a' is the text already"),
        ({"carpet": [{"a": {"like": ["x.png"]}}]}, "normalities.carpet.0.like.0.image"),
        ({"carpet": [{"a": {"like": ["0123456789abcdef.png"] * 2}}]}, "0123456789abcdef stands there twice"),
        ({"carpet": [{"a": {"like": [{"image": "0123456789abcdef.png", "box": [0, 0, 0, 1]}]}}]}, "box is x, y, width"),
        ({"carpet": [3]}, "one text with its phrases"),
        ({"carpet": "fuzz"}, "normalities.carpet"),
    ],
)
def test_bad_settings_are_refused(normalities, message):
    with pytest.raises(ValidationError, match=message):
        PromptSettings(normalities=normalities)


def test_unknown_classes_and_one_group_under_two_names_are_refused():
    with pytest.raises(NandError, match="unknown class 'carpett'; did you mean 'carpet'"):
        held(carpett=["fuzz"])
    with pytest.raises(NandError, match="'a_hole' stands there twice"):
        current(PromptSettings(normalities={"carpet": ["hole", "the a hole"]}), {"carpet": ("a_hole",)})


def test_phrases_may_be_written_for_a_normality_and_for_nothing_else():
    manifest = pd.DataFrame({"class": ["carpet", "wood"], "group": ["thread", ""]})
    assert known_groups(manifest) == {"carpet": ("thread",), "wood": ()}

    def check(normalities):
        prompts = {"explicit": {"carpet": {"loose fibre": ["fuzz"]}}, "normalities": normalities}
        values = {"dataset": {"kind": "demo", "root": "data"}, "detectors": {"a": {"kind": "april_gan"}}}
        check_names(Params(**values, prompts=prompts), manifest)

    check({"carpet": ["loose fibre"]})
    with pytest.raises(NandError, match="unknown group 'loose fibre'"):
        check({"wood": ["loose fibre"]})


@pytest.mark.parametrize(
    ("text", "stem"),
    [("loose fibre", "loose_fibre"), ("thread", "thread"), ("hole 2", "hole_2")],
)
def test_plain_texts_have_plain_names(text, stem):
    assert slug(text) == stem


def test_other_texts_have_a_digest_in_their_names():
    odd = ["loose-fibre", "loose fibre!", "毛", "härchen", "a/../b", "x" * 90, "x" * 91]
    names = [slug(text) for text in odd]
    assert len(set(names)) == len(odd)
    assert all(len(name) < 80 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for name in names)


@given(st.lists(st.text(min_size=1, max_size=12).map(clean).filter(bool), min_size=2, max_size=6, unique=True))
def test_no_two_texts_share_a_name(texts):
    assert len({slug(text) for text in texts}) == len(texts)


@given(st.text(min_size=1, max_size=12).map(clean).filter(bool), st.sets(st.text("ab_ -", min_size=1), max_size=4))
def test_no_text_takes_a_groups_file(text, groups):
    made = resolve("carpet", Added(text=text), groups)
    taken = {group.casefold() for group in groups}
    assert made.name == made.group if made.group else made.name.casefold() not in taken
