"""What the text tower learns: sentences and the target that each belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from nand_core.vlm.words import split_words, stem

#: Stands for any word outside the vocabulary.
STRANGER = "zzz"
_VOWEL = re.compile(r"\ba (?=[aeiou])")
_SHARES = {"normal": 0.16, "abnormal": 0.1, "unknown": 0.12}


@dataclass(frozen=True)
class Entry:
    """One type: what it is called, the phrases kept out of training, and what it looks like."""

    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    phrases: tuple[str, ...]
    held_out: tuple[str, ...]
    mixture: dict[str, float]


class Lexicon:
    """The lexicon file; ``drawn`` and ``spoken`` types, in order, make up ``types``."""

    def __init__(self, path: Path) -> None:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.drawn: tuple[str, ...] = tuple(data["drawn"])
        self.types: dict[str, Entry] = {}
        for name, entry in {**data["drawn"], **data["spoken"]}.items():
            words = {key: tuple(entry.get(key, ())) for key in ("nouns", "adjectives", "phrases", "held_out")}
            self.types[name] = Entry(**words, mixture=entry.get("mixture", {name: 1.0}))
        self.families: dict[str, tuple[str, ...]] = {k: tuple(v) for k, v in data["families"].items()}
        self.objects, self.templates = tuple(data["objects"]), tuple(data["templates"])
        self.states = {"normal": tuple(data["normal"]), "abnormal": tuple(data["abnormal"])}
        self.without, self.unknown = tuple(data["normal_without"]), tuple(data["unknown"])
        self.patterns = {key: tuple(value) for key, value in data["patterns"].items()}
        self.labels: tuple[str, ...] = ("normal", "abnormal", *self.types, "unknown")

    @property
    def vocabulary(self) -> list[str]:
        """Sorted stems of every word that training can meet; held-out phrases add none."""
        texts = [*self.objects, *self.templates, *self.unknown, *self.without]
        texts += [
            *self.states["normal"],
            *self.states["abnormal"],
            *self.patterns["noun"],
            *self.patterns["adjective"],
        ]
        for entry in self.types.values():
            texts += [*entry.nouns, *entry.adjectives, *entry.phrases]
        stems = {stem(word) for text in texts for word in split_words(text)}
        return sorted(stems - {stem(w) for w in ("noun", "adjective")})

    def phrasings(self, name: str) -> list[str]:
        """Every phrasing of a type in training, as states with {} for the object."""
        entry = self.types[name]
        made = [_filled(p, "noun", n) for p in self.patterns["noun"] for n in entry.nouns]
        made += [_filled(p, "adjective", a) for p in self.patterns["adjective"] for a in entry.adjectives]
        return [*entry.phrases, *made]

    def state(self, rng: np.random.Generator, label: str) -> str:
        """A random state ({} is the object) that means ``label``."""
        if label == "unknown":
            word = STRANGER if rng.random() < 0.5 else str(rng.choice(self.unknown))
            kind = "noun" if rng.random() < 0.7 else "adjective"
            state = _filled(str(rng.choice(self.patterns[kind])), kind, word)
            return state.replace(f"a {STRANGER}", f"an {STRANGER}") if rng.random() < 0.3 else state
        if label in self.states:
            if label == "normal" and rng.random() < 0.2:
                entry = self.types[str(rng.choice(list(self.types)))]
                return str(rng.choice(self.without)).replace("{noun}", str(rng.choice(entry.nouns)))
            return "{}" if label == "normal" and rng.random() < 0.25 else str(rng.choice(self.states[label]))
        entry, choice = self.types[label], rng.random()
        if choice < 0.1:
            return str(rng.choice([*entry.nouns, *entry.adjectives]))
        if choice < 0.35:
            return str(rng.choice(entry.phrases))
        if choice < 0.6 and entry.adjectives:
            return _filled(str(rng.choice(self.patterns["adjective"])), "adjective", str(rng.choice(entry.adjectives)))
        return _filled(str(rng.choice(self.patterns["noun"])), "noun", str(rng.choice(entry.nouns)))

    def sentence(self, rng: np.random.Generator) -> tuple[str, int]:
        """A random training sentence and the index of its label."""
        draw = rng.random()
        label = None
        for name, share in _SHARES.items():
            draw -= share
            if draw < 0:
                label = name
                break
        label = label or str(rng.choice(list(self.types)))
        state = self.state(rng, label)
        # A strange object can be damaged or flawless; a strange word alone means nothing.
        strange = rng.random() < 0.12 and state != "{}"
        thing = STRANGER if strange else str(rng.choice(self.objects))
        text = self.place(state, thing, str(rng.choice(self.templates)))
        if (
            label not in _SHARES and rng.random() < 0.1
        ):  # a word that nobody knows does not change the meaning
            words = text.split()
            words.insert(int(rng.integers(len(words) + 1)), STRANGER)
            text = " ".join(words)
        return text, self.labels.index(label)

    @staticmethod
    def place(state: str, thing: str, template: str) -> str:
        """Object into state, state into template; drops a doubled article."""
        state = state.replace("{}", thing)
        for article in ("a ", "the "):
            if state.startswith(("a ", "the ")):
                template = template.replace(article + "{}", "{}")
        return template.replace("{}", state)


def _filled(pattern: str, kind: str, word: str) -> str:
    return _VOWEL.sub("an ", pattern.replace(f"{{{kind}}}", word))


@cache
def lexicon() -> Lexicon:
    return Lexicon(Path(__file__).with_name("lexicon.yaml"))
