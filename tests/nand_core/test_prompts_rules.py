from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nand_core.errors import NandError
from nand_core.prompts.clean import fault
from nand_core.prompts.rules import plural, rule_phrases


@pytest.mark.parametrize(
    ("class_name", "text", "expected"),
    [
        (
            "carpet",
            "loose fibre",
            (
                "loose fibre on carpet",
                "carpet with a loose fibre",
                "loose fibre",
                "loose fibres on carpet",
                "carpet with loose fibres",
            ),
        ),
        ("metal_nut", "bent", ("bent metal nut", "metal nut that is bent", "metal nut with a bent area")),
        ("wood", "oily", ("oily wood", "wood that is oily", "wood with an oily area")),
        ("wood", "glue", ("glue on wood", "wood with glue", "glue", "wood showing glue")),
        ("wood", "scratches", ("scratches on wood", "wood with scratches", "scratches")),
        ("zipper", "missing tooth", ("missing tooth on zipper", "zipper with a missing tooth")),
        ("bottle", "cracked at the rim", ("bottle cracked at the rim", "bottle that is cracked at the rim")),
        ("tile", "dent in the side", ("tile with a dent in the side", "dent in the side")),
        ("carpet", "Thread on carpet", ("thread on carpet", "visible thread on carpet")),
        ("wood", "scratched wood", ("scratched wood", "visibly scratched wood")),
        ("pcb", "an ink_spot", ("ink spot on pcb", "pcb with an ink spot")),
    ],
)
def test_phrases_follow_the_kind_of_text(class_name, text, expected):
    assert rule_phrases(class_name, text, 8)[: len(expected)] == expected


@pytest.mark.parametrize("text", ["loose fibre", "bent", "glue", "scratches", "missing tooth", "peeling"])
@pytest.mark.parametrize("count", [1, 8, 64])
def test_a_short_text_gives_exactly_as_many_as_asked(text, count):
    phrases = rule_phrases("magnetic_tile", text, count)
    assert len(phrases) == len(set(phrases)) == count


def test_more_phrases_begin_with_the_same():
    assert rule_phrases("carpet", "thread", 64)[:8] == rule_phrases("carpet", "thread", 8)


def test_a_text_of_the_longest_length_still_gives_itself():
    text = "long dark line along " + " ".join(["the"] * 7) + " edge"
    assert text in rule_phrases("carpet", text, 8)


@given(
    text=st.text(alphabet="abc deinors", min_size=1, max_size=30).filter(str.strip),
    count=st.integers(1, 64),
)
def test_any_words_give_usable_phrases(text, count):
    phrases = rule_phrases("steel_plate", text, count)
    assert 1 <= len(phrases) <= count
    assert len(set(phrases)) == len(phrases)
    assert all(fault(phrase) is None for phrase in phrases)


@pytest.mark.parametrize("text", ["", "  ", "{}", "123", "x " * 20])
def test_an_unusable_text_is_refused(text):
    with pytest.raises(NandError, match="normality of carpet: the phrase"):
        rule_phrases("carpet", text, 8)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("scratch", "scratches"),
        ("metal box", "metal boxes"),
        ("cavity", "cavities"),
        ("display", "displays"),
        ("broken tooth", "broken teeth"),
        ("crack", "cracks"),
    ],
)
def test_plural(noun, expected):
    assert plural(noun) == expected
