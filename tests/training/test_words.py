from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nand_core.errors import NandError
from nand_core.vlm.tokenizers import understood
from nand_core.vlm.words import WordTokenizer, split_words, stem

VOCABULARY = ["a", "carpet", "hol", "scratch", "thread", "with"]


def test_endings_are_stripped():
    for words in (
        ("scratch", "scratches", "scratched", "scratching"),
        ("hole", "holes"),
        ("cut", "cutting", "cuts"),
        ("fibre", "fibres"),
        ("glue", "glued"),
    ):
        assert len({stem(word) for word in words}) == 1, words
    assert stem("string") == "string"
    assert stem("glass") == "glass"
    assert stem("flawless") != stem("flawed")


def test_ids():
    tokens = WordTokenizer(VOCABULARY, 8)("A carpet, with HOLES & pixies!")
    assert tokens.dtype == torch.long
    assert tokens.tolist() == [[2, 3, 7, 4, 1, 8, 0, 0]]


def test_several_texts_and_cutting():
    tokenizer = WordTokenizer(VOCABULARY, 4)
    tokens = tokenizer(["thread", "a a a a a a"])
    assert tokens.tolist() == [[6, 8, 0, 0], [2, 2, 2, 8]]
    assert tokenizer.vocab_size == 9


@given(st.text(max_size=60))
def test_end_token_is_the_one_highest_id(text: str):
    tokenizer = WordTokenizer(VOCABULARY, 6)
    (row,) = tokenizer(text)
    assert (row == tokenizer.end_id).sum() == 1
    assert row.argmax() == (row != 0).sum() - 1
    assert row.min() >= 0


def test_unknown_words_are_named_once():
    tokenizer = WordTokenizer(VOCABULARY, 8)
    assert tokenizer.unknown("a Gribble carpet with a gribble and threads") == ["gribble", "and"]


def test_words_of_any_script_are_words():
    tokenizer = WordTokenizer(VOCABULARY, 8)
    text = "Riß, царапина; 缺陷 ξύσιμο खरोंच na\u00efve l'éclat thread_3"
    words = ["riß", "царапина", "缺陷", "ξύσιμο", "खरोंच", "naïve", "l", "éclat", "thread"]
    assert split_words(text) == words and tokenizer.unknown(text) == words[:-1]
    assert tokenizer("riß")[0, 0] == 1 and tokenizer("царапина 缺陷").tolist()[0][:3] == [1, 1, 8]


@pytest.mark.parametrize(
    ("text", "known"),
    [("царапина", False), ("缺陷", False), ("Riß on the carpet", False), ("a gribble, with carpets", False),
     ("gribble hole", True), ("scratches", True), ("carpet", True)],
)  # fmt: skip
def test_what_is_understood_says_more_than_the_class(text, known):
    assert understood(WordTokenizer(VOCABULARY, 8), "carpet", [text]) is known
    assert understood(lambda _: torch.zeros(1, 8), "carpet", [text]), "byte pairs read anything"


def test_load(tmp_path):
    file = tmp_path / "vocabulary.txt"
    file.write_text("\n".join(VOCABULARY) + "\n")
    assert WordTokenizer.load(file, 8).vocabulary == tuple(VOCABULARY)
    with pytest.raises(NandError, match="nowhere"):
        WordTokenizer.load(tmp_path / "nowhere.txt", 8)
