from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nand_core.errors import NandError
from nand_core.vlm.words import WordTokenizer, stem

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


def test_load(tmp_path):
    file = tmp_path / "vocabulary.txt"
    file.write_text("\n".join(VOCABULARY) + "\n")
    assert WordTokenizer.load(file, 8).vocabulary == tuple(VOCABULARY)
    with pytest.raises(NandError, match="nowhere"):
        WordTokenizer.load(tmp_path / "nowhere.txt", 8)
