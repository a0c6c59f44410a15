"""The commands about what was changed: ``nand log`` and ``nand undo``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nand.cli.console import console, one_line, table_of
from nand.cli.normality import _change
from nand.project.place import PARAMS, require_project
from nand_core.errors import NandError, nearest

if TYPE_CHECKING:
    from nand.project.log import Alarms, Entry
    from nand_core.prompts.settings import Added

SHOWN = 4
"""Kinds of images whose alarms a row names."""


def log(
    class_name: Annotated[str | None, typer.Argument(metavar="[CLASS]", help="Of this class alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines of normalities.jsonl as they are.")] = False,
) -> None:
    """Who made what normal, or took it back, when and with which effect; newest first."""
    with one_line():
        require_project()
        from nand.project.log import LOG, read, standing_in
        from nand.project.standing import BY_HAND, standings, unlogged
        from nand_core.config import load_params

        prompts = load_params(PARAMS).prompts
        found = read(prompts)
        known = {key[0] for key in standing_in(prompts)} | {entry.class_name for entry in found.entries}
        if class_name and known and class_name not in known:
            raise NandError(f"nothing was ever normal for {class_name!r}{nearest(class_name, known)}")
    for fault in found.faults:
        print(fault, file=sys.stderr)
    if as_json:
        for entry, line in zip(found.entries, found.lines, strict=True):
            if class_name in (None, entry.class_name):
                print(line)
        return
    if not found.entries:
        print(f"no log yet: {LOG} begins with the first nand add or nand remove")
    from rich.markup import escape

    columns = ("id", "when (UTC)", "who", "class", "what", "effect: alarms", "state")
    table = table_of(*columns, left=len(columns))
    for (name, text), one in unlogged(found.entries, prompts).items():
        if class_name in (None, name):
            table.add_row("–", "–", "–", *map(escape, (name, _said(text, one))), "–", f"holds; {BY_HAND}")
    for row in reversed(standings(found.entries, prompts)):
        entry = row.entry
        if class_name in (None, entry.class_name):
            when, who = entry.time.replace("T", " ").removesuffix("Z"), entry.who.partition(" <")[0]
            what = f"{'added' if entry.action == 'add' else 'removed'} {_said(entry.text, entry)}"
            shown = (str(entry.id), when, who, entry.class_name, what, effect_in_words(entry), row.state)
            table.add_row(*map(escape, shown))
    if table.row_count:
        console().print(table)


def _said(text: str, one: Entry | Added) -> str:
    """``'fuzz ok', 2 examples, 1 unlike, strength 0.5``."""
    like, unlike = len(one.like), len(one.unlike)
    counts = [f"{like} example{'s' * (like > 1)}"] * bool(like) + [f"{unlike} unlike"] * bool(unlike)
    counts += [f"strength {one.strength:g}"] * (one.strength < 1)
    return ", ".join([repr(text), *counts])


def effect_in_words(entry: Entry) -> str:
    """A line a detector, ``april_gan: thread 12 → 0 of 12; lost 1 of 36``; the added groups first.

    Only kinds whose alarms changed are named, and the entry's own group.
    """
    return "\n".join(f"{name}: {_of_detector(entry, name)}" for name in sorted(entry.effect))


def _of_detector(entry: Entry, detector: str) -> str:
    kinds = entry.effect[detector]
    named = [
        f"{kind} {row.alarms_before} → {row.alarms_after} of {row.images}"
        for kind, row in sorted(kinds.items(), key=lambda item: (item[0] == "good", not item[1].added, item[0]))
        if row.alarms_before != row.alarms_after or kind == entry.group
    ]
    said = ", ".join(named[:SHOWN]) or "no alarm changed"
    if len(named) > SHOWN:
        said += f" and {len(named) - SHOWN} more"
    if entry.action == "remove":
        return said
    others = sum(row.alarms_before for kind, row in kinds.items() if _other(kind, row))
    return f"{said}; lost {entry.lost.get(detector, 0)} of {others}"


def _other(kind: str, row: Alarms) -> bool:
    """Whether images of this kind are to keep raising an alarm."""
    return kind != "good" and not row.added


def undo(number: Annotated[int, typer.Argument(metavar="ID", help="As 'nand log' gives it.")]) -> None:
    """Reverse an entry of the log: what was added is removed, what was removed is added as it was."""
    with one_line():
        require_project()
    from nand.project.undo import undoing

    with one_line(), undoing(number) as (class_name, plan):
        _change(class_name, plan, None)
    print(f"entry {number} is undone: nand log {class_name}")
