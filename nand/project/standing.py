"""What became of the log's entries, and which normalities it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nand.project.log import Entry, Key, standing_in
from nand_core.prompts.settings import Added, PromptSettings

BY_HAND = "not by nand add (edited by hand)"


@dataclass(frozen=True)
class Standing:
    """An entry and what became of it.

    Attributes:
        holds: params.yaml is in that respect as the entry left it.
        state: the same in words.
    """

    entry: Entry
    holds: bool
    state: str


def standings(entries: Sequence[Entry], prompts: PromptSettings) -> list[Standing]:
    """Of every entry, in their order."""
    now, later = standing_in(prompts), dict[Key, Entry]()
    found: list[Standing] = []
    for entry in reversed(entries):
        found.append(_standing(entry, later.get(entry.key), now.get(entry.key)))
        later[entry.key] = entry
    return found[::-1]


def _standing(entry: Entry, later: Entry | None, now: Added | None) -> Standing:
    """``later``: the next entry about the same normality; ``now``: what params.yaml says of it."""
    if later:
        verb = "removed" if later.action == "remove" else "added again"
        return Standing(entry, False, f"{'undone' if later.undoes == entry.id else verb} by {later.id}")
    if entry.action == "remove":
        return Standing(entry, now is None, "removed" if now is None else f"stands there again, {BY_HAND}")
    if now is None:
        return Standing(entry, False, "no longer in params.yaml, not by nand remove (edited by hand)")
    same = entry.is_of(now)
    return Standing(entry, same, "holds" if same else "edited by hand since")


def unlogged(entries: Sequence[Entry], prompts: PromptSettings) -> dict[Key, Added]:
    """What params.yaml says is normal though no entry of the log made it so."""
    last = {entry.key: entry.action for entry in entries}
    return {key: one for key, one in standing_in(prompts).items() if last.get(key) != "add"}
