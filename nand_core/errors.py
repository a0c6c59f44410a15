"""The one exception that users see as a single line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NandError(ValueError):
    """Bad input or a missing file: the message names it and says what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'carpet'? (known: carpet, wood)`` for an unknown ``name``."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"{guess} (known: {', '.join(names) or 'none'})"
