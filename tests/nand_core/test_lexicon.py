from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nand_core.drawing.lexicon import STRANGER, lexicon
from nand_core.drawing.scenes import TYPES
from nand_core.vlm.words import WordTokenizer, split_words
from training.targets import LOGIT_SCALE, image_targets, known_targets, siblings, unknown_target


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
    targets = known_targets(words, 64)
    assert torch.allclose(targets.norm(dim=1), torch.ones(len(targets)), atol=1e-5)
    at = dict(zip(words.labels[:-1], targets, strict=True))
    assert abs(float(at["normal"] @ at["hole"])) < 1e-5
    assert float(at["hole"] @ at["poke"]) > float(at["hole"] @ at["thread"]) > 0.05
    assert float(at["hole"] @ at["abnormal"]) > 0.3
    assert float(at["oil"] @ at["liquid"]) > 0.99


def test_unknown_is_found_on_no_patch_even_where_normal_is_disliked():
    words = lexicon()
    known = known_targets(words, 64)
    noise = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    kind = torch.randint(len(known), (2000,), generator=torch.Generator().manual_seed(1))
    dislike = -0.4 * known[0] - 0.4 * known[1] + 0.8 * F.normalize(noise[0], dim=0)  # as the first layers have it
    patches = F.normalize(known[kind] + dislike + 0.03 * noise, dim=1)

    def share(direction: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(LOGIT_SCALE * (patches @ (direction - known[0])))

    opposite = -F.normalize(known[0] + known[1], dim=0)
    assert share(opposite).max() > 0.5
    found = unknown_target(patches, known[0])
    assert float(found.norm()) == pytest.approx(1.0, abs=1e-5)
    assert share(found).max() < 0.02
    assert torch.equal(found, unknown_target(patches, known[0]))


def test_articles_agree_with_the_word_after_them():
    phrasings = lexicon().phrasings("hole")
    assert "{} with an opening" in phrasings and "{} with a hole" in phrasings
    assert not any(re.search(r"\ba [aeiou]", phrase) for phrase in phrasings)
    rng = np.random.default_rng(0)
    strange = [lexicon().state(rng, "unknown") for _ in range(400)]
    assert any(f" an {STRANGER}" in state for state in strange) and any(f" a {STRANGER}" in state for state in strange)


def test_image_targets_follow_the_drawing_order():
    words = lexicon()
    rows = image_targets(words, TYPES, 64)
    texts = dict(zip(words.labels[:-1], known_targets(words, 64), strict=True))
    assert torch.equal(rows[0], texts["normal"])
    assert torch.equal(rows[1 + TYPES.index("thread")], texts["thread"])
    assert torch.equal(rows[-1], texts["abnormal"])
    kin = siblings(words, TYPES)
    assert kin[TYPES.index("hole"), TYPES.index("pore")]
    assert not kin[TYPES.index("hole"), TYPES.index("thread")]
