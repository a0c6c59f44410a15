"""The one exception that users see as a single line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(text: object) -> str:
    """One line without what moves a terminal's cursor, colours or turns text: that is written out."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class NandError(ValueError):
    """Bad input or a missing file: the message names it and says what to do, in one line."""

    def __str__(self) -> str:
        return printable(super().__str__())


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'carpet'? (known: carpet, wood)`` for an unknown ``name``."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"{guess} (known: {', '.join(names) or 'none'})"
