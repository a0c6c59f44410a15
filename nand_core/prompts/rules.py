"""Phrases for any text by grammar rules: no network, the same phrases every time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from nand_core.prompts.clean import checked_phrase, usable
from nand_core.prompts.templates import object_name

_PREPOSITIONS = frozenset(
    "on in of with at from by without over between near under inside across along to".split()
)
_MASS = frozenset(
    "adhesive blood color colour condensation contamination corrosion damage debris dirt discoloration "
    "dust foam glue grease ink iron liquid metal mildew mold mould oil oxidation paint plastic porosity "
    "print resin rubber rust sand slag soot swarf tape text varnish water wax wear".split()
)
_STATES = frozenset(
    "bent broken burnt crooked dirty down dusty empty faulty frozen greasy incomplete loose misshapen "
    "missing molten oily open rough rusty stuck sticky swollen torn uneven wet worn wrong".split()
)
_ED_NOUNS = frozenset("bed bleed reed seed weed".split())
_ING_NOUNS = frozenset("bearing coating fitting marking opening ring spring string wing".split())
_IRREGULAR = {"foot": "feet", "knife": "knives", "leaf": "leaves", "tooth": "teeth"}

_NOUN = (
    "{text} on {object}",
    "{object} with {a_text}",
    "{text}",
    "{object} showing {a_text}",
    "{object} damaged by {a_text}",
    "{object} marked by {a_text}",
    "{object} surface with {a_text}",
    "{text} on the {object} surface",
    "area of {object} with {a_text}",
)
_PLURAL = ("{text} on {object}", "{object} with {text}")
_STATE = (
    "{text} {object}",
    "{object} that is {text}",
    "{object} with {a_text} area",
    "{text} part of {object}",
    "{object} with {a_text} surface",
    "{text} area on {object}",
    "{object} that looks {text}",
    "{object} with {a_text} spot",
)
_PLACED_NOUN = (
    "{object} with {a_text}",
    "{text}",
    "{object} showing {a_text}",
    "{object} damaged by {a_text}",
)
_PLACED_STATE = ("{object} {text}", "{object} that is {text}", "{object} that looks {text}", "{text}")
_NAMED = ("{text}",)
_ONE_WORDS = ("visible", "slight", "clear", "small", "large", "faint", "single")
_SOME_WORDS = ("visible", "slight", "clear", "some", "faint", "obvious", "noticeable")
_STATE_WORDS = ("visibly", "slightly", "clearly", "partly", "badly", "locally", "heavily", "strongly")


def rule_phrases(class_name: str, text: str, count: int) -> tuple[str, ...]:
    """Up to ``count`` phrases for ``text`` on the object, the plainest first.

    A short text gives as many as asked (to 64); one that names the object itself, or a long one, gives fewer.
    Raises NandError if the text cannot stand in a phrase.
    """
    text = checked_phrase(text, f"normality of {class_name}")
    made = _phrases(object_name(class_name).lower(), text)
    return tuple(islice(dict.fromkeys(usable(made)), count)) or (text,)


def plural(noun: str) -> str:
    """``scratch`` -> ``scratches``; of several words the last one."""
    *front, last = noun.split()
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*front, last])


def is_state(word: str) -> bool:
    """Whether the word tells how an object is (``bent``) rather than what is on it (``thread``)."""
    return word in _STATES or (word.endswith("ed") and len(word) > 3 and word not in _ED_NOUNS)


def _uncountable(word: str) -> bool:
    return word in _MASS or (word.endswith("ing") and word not in _ING_NOUNS)


def _is_plural(word: str) -> bool:
    return word in _IRREGULAR.values() or (word.endswith("s") and not word.endswith(("ss", "us", "is")))


def _phrases(name: str, text: str) -> Iterator[str]:
    words = text.split()
    place = next((i for i, word in enumerate(words) if i and word in _PREPOSITIONS), None)
    head = words[:place][-1]
    named = any(f" {n} " in f" {text} " for n in (name, plural(name)))
    state = is_state(words[0] if named else head)
    countable = not (state or _uncountable(head) or _is_plural(head))
    patterns: tuple[str, ...]
    if named:
        patterns = _NAMED
    elif place is not None:
        patterns = _PLACED_STATE if state else _PLACED_NOUN
    else:
        patterns = _STATE if state else _NOUN
    plain = list(_filled(patterns, name, text, countable or state))
    yield from plain[:3]
    if countable and patterns is _NOUN:
        yield from _filled(_PLURAL, name, plural(text), False)
    yield from plain[3:]
    if any(word.endswith("ly") for word in words):
        return
    for word in _STATE_WORDS if state else _ONE_WORDS if countable else _SOME_WORDS:
        if word not in words:
            yield from _filled(patterns, name, f"{word} {text}", countable or state)


def _filled(patterns: tuple[str, ...], name: str, text: str, article: bool) -> Iterator[str]:
    a_text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}" if article else text
    for pattern in patterns:
        yield pattern.format(text=text, object=name, a_text=a_text)
