"""What a state-level phrase may look like, and how a text is brought into that form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from nand_core.errors import NandError

MAX_WORDS = 12
MAX_CHARACTERS = 100

_BULLET = re.compile(r"^(?:[-*•–]\s+|\d{1,2}[.)]\s+)")
_EMPHASIS = re.compile(r"(\*{1,3}|~~)(?=[^\s*])(.*?[^\s*])\1")
_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\S)")
_QUOTES = "\"'`“”‘’„«»"
_TEMPLATE = re.compile(r"\bphotos? of\b|\bin the scene\b")
_MARKUP = re.compile(r"[{}\[\]<>|\\`]")


def clean(text: str) -> str:
    """In lower case without underscores, list mark, emphasis, outer quotes, leading article or closing punctuation."""
    text = " ".join(unicodedata.normalize("NFKC", text).replace("_", " ").lower().split())
    text = _EMPHASIS.sub(r"\2", _BULLET.sub("", text)).strip(_QUOTES + " ").rstrip(".,;:!?" + _QUOTES).strip()
    return _ARTICLE.sub("", text)


def fault(phrase: str) -> str | None:
    """Why a cleaned phrase cannot stand in a template; None if it can."""
    if not phrase:
        return "is empty"
    if not phrase.isprintable():
        return "has unprintable characters"
    if found := _MARKUP.search(phrase):
        return f"has the character {found.group()!r}"
    if found := _TEMPLATE.search(phrase):
        return f"repeats the templates' words {found.group()!r}"
    if not any(c.isalpha() for c in phrase):
        return "has no letters"
    if len(phrase) > MAX_CHARACTERS or len(phrase.split()) > MAX_WORDS:
        return f"is longer than {MAX_WORDS} words or {MAX_CHARACTERS} characters"
    return None


def usable(texts: Iterable[str]) -> list[str]:
    """The texts cleaned, without unusable and repeated ones, in order."""
    return list(dict.fromkeys(phrase for phrase in map(clean, texts) if fault(phrase) is None))


def checked_phrase(text: str, where: str) -> str:
    """The text cleaned; a NandError that begins with ``where`` and quotes the text if it is unusable."""
    phrase = clean(text)
    if reason := fault(phrase):
        shown = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "..."
        raise NandError(f"{where}: the phrase {shown!r} {reason}; write it like 'loose thread on carpet'")
    return phrase


def checked_phrases(class_name: str, group: str, phrases: Iterable[str]) -> tuple[str, ...]:
    """A group's explicit phrases cleaned, each once; a NandError names class, group and unusable phrase."""
    where = f"prompts.explicit.{class_name}.{group}"
    found = tuple(dict.fromkeys(checked_phrase(phrase, where) for phrase in phrases))
    if not found:
        raise NandError(f"{where}: no phrase given; write at least one or remove the entry")
    return found
