from __future__ import annotations

import numpy as np
import torch

from nand_core.vlm.words import WordTokenizer, split_words
from training.generator import TYPES
from training.lexicon import STRANGER, lexicon
from training.targets import image_targets, siblings, text_targets


def test_every_drawn_type_is_spoken_of_and_the_reverse():
    assert set(lexicon().drawn) == set(TYPES)
    assert len(lexicon().types) >= 40


def test_each_type_has_many_phrasings_and_keeps_some_back():
    for name, entry in lexicon().types.items():
        known = lexicon().phrasings(name)
        assert len(set(known)) >= 10, name
        assert entry.held_out, name
        assert not set(entry.held_out) & set(known), name


def test_vocabulary_knows_training_and_not_the_stranger():
    words = lexicon()
    tokenizer = WordTokenizer(words.vocabulary, 32)
    rng = np.random.default_rng(0)
    for _ in range(300):
        text, label = words.sentence(rng)
        assert set(tokenizer.unknown(text)) <= {STRANGER}
        assert 0 <= label < len(words.labels)
        assert len(split_words(text)) < tokenizer.context_length


def test_sentences_repeat_per_seed():
    first, again = (lexicon().sentence(np.random.default_rng(4)) for _ in range(2))
    assert first == again


def test_targets_are_unit_vectors_of_the_intended_angles():
    words = lexicon()
    targets = text_targets(words, 64)
    assert torch.allclose(targets.norm(dim=1), torch.ones(len(targets)), atol=1e-5)
    at = {name: targets[i] for i, name in enumerate(words.labels)}
    assert abs(float(at["normal"] @ at["hole"])) < 1e-5
    assert float(at["hole"] @ at["poke"]) > float(at["hole"] @ at["thread"]) > 0.05
    assert float(at["hole"] @ at["abnormal"]) > 0.3
    assert float(at["oil"] @ at["liquid"]) > 0.99


def test_image_targets_follow_the_drawing_order():
    words = lexicon()
    rows = image_targets(words, TYPES, 64)
    texts = dict(zip(words.labels, text_targets(words, 64), strict=True))
    assert torch.equal(rows[0], texts["normal"])
    assert torch.equal(rows[1 + TYPES.index("thread")], texts["thread"])
    assert torch.equal(rows[-1], texts["abnormal"])
    kin = siblings(words, TYPES)
    assert kin[TYPES.index("hole"), TYPES.index("pore")]
    assert not kin[TYPES.index("hole"), TYPES.index("thread")]
