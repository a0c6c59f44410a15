"""What a language model meant: its phrases, however it wrote them down."""

from __future__ import annotations

import json
import re
from typing import Any

_THOUGHTS = re.compile(r"(?is)^.*</(?:think|thinking|reasoning)>|<(?:think|thinking|reasoning)>.*$")
_STRING_OR_SPARE_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])', re.DOTALL)
_LINE = re.compile(r"^\s*(?:[-*•–]|\d{1,2}[.):])\s+(?P<item>\S.*)$", re.MULTILINE)
_HEADED = re.compile(r"^\*\*(?P<item>[^*]+?):?\*\*\s*(?:[:–—-]|$)")
_MOST_STARTS = 64


def phrases_in(content: str) -> list[str]:
    """The phrases of an answer, as they stand in it; [] where it has none that can be told from its other words.

    They may stand in ``{"phrases": [...]}`` or a bare list, with thoughts or text before and after, more than once
    (the longest counts, of several the last) and with a comma too many; or be the items of a list in Markdown.
    """
    spoken = _THOUGHTS.sub("", content)
    for text in dict.fromkeys((spoken, content)):
        for found in (_in_json(text), _in_lines(text)):
            if found:
                return found
    return []


def _in_json(text: str) -> list[str]:
    """Objects win over bare lists, which can be anything that stands in brackets outside of them."""
    objects: list[list[str]] = [[]]
    lists: list[list[str]] = [[]]
    inside = 0
    for start in [found.start() for found in re.finditer(r"[{\[]", text)][-_MOST_STARTS:]:
        value, length = _value(text[start:])
        if isinstance(value, dict):
            objects.append(_strings(value.get("phrases")))
            inside = max(inside, start + length)
        elif isinstance(value, list) and start >= inside:
            lists.append(_strings(value))
    return max(reversed(objects), key=len) or max(reversed(lists), key=len)


def _value(text: str) -> tuple[Any, int]:
    """The JSON value with which the text begins, and its length; None if it does with none."""
    decoder = json.JSONDecoder(strict=False)
    for attempt in (str, lambda text: _STRING_OR_SPARE_COMMA.sub(lambda found: found[1] or "", text)):
        try:
            return decoder.raw_decode(attempt(text))
        except (ValueError, RecursionError):
            pass
    return None, 0


def _strings(values: Any) -> list[str]:
    """The strings of a list, and those that stand alone in an object of it."""
    given = values if isinstance(values, list) else []
    inner = [next(iter(one.values())) if isinstance(one, dict) and len(one) == 1 else one for one in given]
    return [one for one in inner if isinstance(one, str)]


def _in_lines(text: str) -> list[str]:
    """The items of a Markdown list of two or more; of an item with a heading that alone."""
    items = [found["item"].strip() for found in _LINE.finditer(text)]
    return [headed["item"] if (headed := _HEADED.match(item)) else item for item in items] if len(items) > 1 else []
