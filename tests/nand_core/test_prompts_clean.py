from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nand_core.errors import NandError
from nand_core.prompts.clean import checked_phrases, clean, fault, usable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Loose   Thread\non carpet. ", "loose thread on carpet"),
        ("1. a scratched tile", "scratched tile"),
        ("- the cut in leather", "cut in leather"),
        ('"bent wire"', "bent wire"),
        ("glue_strip on tile", "glue strip on tile"),
        ("3 holes in the wood", "3 holes in the wood"),
        ("a", "a"),
        ("**Loop**", "loop"),
        ("1. **\"loose thread\"**.", "loose thread"),
        ("***", "***"),
        ("2 * 3 holes", "2 * 3 holes"),
        ("\uff4fil spot", "oil spot"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("", "is empty"),
        ("123", "has no letters"),
        ("a photo of a scratch", "repeats the templates' words 'photo of'"),
        ("scratch {}", "has the character '{'"),
        ("thread\u200bon carpet", "has unprintable characters"),
        (" ".join(["very"] * 13), "is longer than 12 words or 100 characters"),
        ("x" * 101, "is longer than 12 words or 100 characters"),
    ],
)
def test_faults(phrase, reason):
    assert fault(phrase) == reason


def test_usable_keeps_order_and_drops_repetitions_and_faults():
    assert usable(["Thread", "a thread.", "", "{}", "fibre", "THREAD"]) == ["thread", "fibre"]


@given(st.text(max_size=40))
def test_cleaning_again_changes_nothing_in_a_usable_phrase(text):
    for phrase in usable([text]):
        assert phrase
        assert phrase == phrase.lower()
        assert "\n" not in phrase
        assert fault(phrase) is None


def test_an_unusable_explicit_phrase_is_named():
    with pytest.raises(
        NandError, match=r"explicit\.carpet\.thread: the phrase 'a photo of \{\}' has the char"
    ):
        checked_phrases("carpet", "thread", ["loose thread", "a photo of {}"])


def test_a_long_explicit_phrase_is_shown_shortened():
    with pytest.raises(NandError) as error:
        checked_phrases("carpet", "thread", ["x" * 5000])
    assert len(str(error.value)) < 300


def test_a_group_without_phrases_is_refused():
    with pytest.raises(NandError, match=r"explicit\.carpet\.thread: no phrase given"):
        checked_phrases("carpet", "thread", [])
