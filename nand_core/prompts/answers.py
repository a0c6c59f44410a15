"""What a language model meant: its phrases, however it wrote them down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from nand_core.prompts.clean import MAX_WORDS

_THOUGHT = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
_THOUGHTS = re.compile(rf"(?is)^.*[<\[]/{_THOUGHT}[>\]]|[<\[]{_THOUGHT}(?:\s[^>\]]*)?[>\]].*$")
_UNSEEN = re.compile(r"[\u200b-\u200d\u2060\ufeff]|</?(?:b|i|em|strong|code)>")
_SPACE = re.compile(r"[^\S\n]")
_STRING_OR_SPARE = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])|//[^\n]*|/\*.*?\*/|(?<=[,\[{\s])#[^\n]*', re.DOTALL)
_QUOTED = re.compile(
    r"""(?:^|(?<=[\[(,]))[ \n]*(?:(["'])|[“‘«„])(?P<item>[^\n]{1,200}?)(?(1)\1|[”’»“])(?=[ \n]*(?:[,\])]|$|//|\#))""",
    re.MULTILINE,
)
_MARK = (
    r"""(?:[^\w\s{}()[\]<|"'“‘«„`]{1,2}(?=\s)|[•·▪●]|\[[ xX]?\](?=\s)|[([#]?\d{1,2}\\?[.):\]、\uff09](?!\d)"""
    r"""|\#\d{1,2}(?=\s)|\d{1,2}(?=\s+[-–—]\s)|\d{1,2}\ufe0f?\u20e3|[①-⑳]|\(?(?:[a-z]|[ivx]{1,4})[.)](?=\s)"""
    r"""|phrase\s+\d{1,2}\s*[:.)])"""
)
_MARKS = re.compile(rf"^\s*(?:\*\*)?(?:{_MARK}(?:\*\*)?\s*)+(?P<item>\S.*)$", re.IGNORECASE)
_HEADED = re.compile(r"^\*\*(?P<item>[^*]+?):?\*\*\s*(?:[:–—-]|$)")
_EXPLAINED = re.compile(r"^(?P<item>[^:–—(]*\w)(?:\s*:\s|\s+[–—-]\s|\s+\().*$")
_NUMBERED = re.compile(r"(?:phrase[ _]?)?\d+$", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z]+>", re.IGNORECASE)
_MOST_STARTS = 64
_FEW = 2
"""So many of a kind are a list."""


def phrases_in(content: str) -> list[str]:
    """The phrases of an answer, as they stand in it; [] where it has none that can be told from its other words.

    They may stand in ``{"phrases": [...]}`` or a bare list, with thoughts or text before and after, more than once
    (the longest counts, of several the last), with a comma too many, comments, other quotes or without an end; or be
    the items of a list in Markdown, or short lines.
    """
    content = _SPACE.sub(" ", "\n".join(_UNSEEN.sub("", content).splitlines()))
    spoken = _THOUGHTS.sub("", content)
    for text in dict.fromkeys((spoken, content, content.replace('\\"', '"'))):
        values = _values(text)
        whole = any(isinstance(value, dict) for value, _ in values)
        if found := _in_json(values) or (not whole and _in_quotes(text)) or _in_lines(text):
            return [_unmarked(one) for one in found]
    return []


def _values(text: str) -> list[tuple[Any, bool]]:
    """The objects and lists of a text, and whether each stands outside of all others."""
    found: list[tuple[Any, bool]] = []
    inside = 0
    for start in [found.start() for found in re.finditer(r"[{\[]", text)][-_MOST_STARTS:]:
        value, length = _value(text[start:])
        if value is not None:
            found.append((value, start >= inside))
            inside = max(inside, start + length)
    return found


def _in_json(values: Sequence[tuple[Any, bool]]) -> list[str]:
    """Objects win over bare lists, which can be anything that stands in brackets outside of them."""
    objects = [_of_object(value) for value, _ in values if isinstance(value, dict)]
    lists = [_strings(value) for value, outside in values if outside and isinstance(value, list)]
    lists.append(_several(_strings([value for value, outside in values if outside and isinstance(value, dict)])))
    return max(reversed([[], *objects]), key=len) or max(reversed(lists), key=len)


def _value(text: str) -> tuple[Any, int]:
    """The JSON value with which the text begins, and its length; None if it does with none."""
    decoder = json.JSONDecoder(strict=False)
    for attempt in (str, lambda text: _STRING_OR_SPARE.sub(lambda found: found[1] or "", text)):
        try:
            return decoder.raw_decode(attempt(text))
        except (ValueError, RecursionError):
            pass
    return None, 0


def _of_object(value: dict[str, Any]) -> list[str]:
    """What stands under ``phrases`` or under the one key that has a list of texts; or numbered texts."""
    lists = [inner for inner in value.values() if len(_strings(inner)) >= _FEW]
    named = next((inner for key, inner in value.items() if key.lower() == "phrases"), None)
    given = named if named is not None else lists[0] if len(lists) == 1 else value
    if isinstance(given, dict) and all(map(_NUMBERED.match, given)):
        return _strings(list(given.values()))
    return _strings(given)


def _strings(values: Any) -> list[str]:
    """The texts of a list and of lists in it, and of an object in it the one that it has."""
    found: list[str] = []
    for one in values if isinstance(values, list) else []:
        texts = [one] if isinstance(one, str) else []
        if isinstance(one, dict):
            texts = [inner for inner in one.values() if isinstance(inner, str)]
        found += texts if len(texts) == 1 else _strings(one)
    return found


def _in_quotes(text: str) -> list[str]:
    """Quoted texts that stand behind one another, as in a list of another language or one that was cut off."""
    return _several(found["item"] for found in _QUOTED.finditer(text))


def _in_lines(text: str) -> list[str]:
    """The items of a list in Markdown, the last cells of a table, or an answer of short lines or parts alone.

    Of an item with a heading that alone, and where all have an explanation, what stands before it.
    """
    lines = [line.strip() for line in _TAG.sub("\n", text).split("\n")]
    lines = [line for line in lines if line and not line.startswith(("```", "~~~"))]
    marked = _several(found["item"].strip() for line in lines if (found := _MARKS.match(line)))
    rows = _several(line.strip("| ").split("|")[-1].strip() for line in lines if line.startswith("|"))
    if not marked and not rows:
        return _plain([line for line in lines if not line.endswith(":")])
    items = [headed["item"] if (headed := _HEADED.match(item)) else item.strip("*") for item in marked or rows[1:]]
    explained = [found["item"] for item in items if (found := _EXPLAINED.match(item))]
    return explained if len(set(explained)) == len(items) else items


def _plain(lines: Sequence[str]) -> list[str]:
    parts = re.split(r"[,;] ", re.sub(r"^[^:,;]*: ", "", lines[0])) if len(lines) == 1 else lines
    short = all(len(one.split()) <= MAX_WORDS and one[:1].isalpha() and one[-1].isalnum() for one in parts)
    return list(parts) if short and len(parts) > _FEW else []


def _several(items: Iterable[str]) -> list[str]:
    found = list(items)
    return found if len(found) >= _FEW else []


def _unmarked(phrase: str) -> str:
    found = _MARKS.match(phrase)
    return found["item"] if found else phrase
