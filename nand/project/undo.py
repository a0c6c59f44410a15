"""The change that reverses an entry of the log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from nand.project.change import Change, Groups
from nand.project.examples import DIGITS, EXAMPLES, Examples, Given
from nand.project.log import Entry, read
from nand.project.params_file import append
from nand.project.place import PARAMS, STATE, require_project
from nand.project.plans import addition, removal
from nand.project.run import dvc_objects
from nand.project.standing import standings
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import sha256_file
from nand_core.config import Params, load_params
from nand_core.errors import NandError
from nand_core.prompts.settings import Example

BACK = STATE / "examples_back"

Plan = Callable[[Params, Groups], Change]


@contextmanager
def undoing(number: int) -> Iterator[tuple[str, Plan]]:
    """The class that entry ``number`` is about, and the plan for :func:`nand.project.change.apply`.

    Raises
    ------
    NandError
        For an unknown number, an entry that does not hold any more, and examples whose files are gone.
    """
    require_project()
    entry = _chosen(number)

    def plan(params: Params, groups: Groups) -> Change:
        _chosen(number)  # once more, now that no other command is at work
        if entry.action == "remove":
            return replace(_again(params, groups, entry), undoes=number)
        return replace(removal(params, groups, entry.class_name, entry.text), undoes=number)

    try:
        yield entry.class_name, plan
    finally:
        shutil.rmtree(BACK, ignore_errors=True)


def _chosen(number: int) -> Entry:
    prompts = load_params(PARAMS).prompts
    entries = read(prompts).entries
    found = [one for one in standings(entries, prompts) if one.entry.id == number]
    if not found:
        known = f"it has {entries[0].id} to {entries[-1].id}" if entries else "it is empty"
        raise NandError(f"the log has no entry {number}, {known}; see 'nand log'")
    if len(found) > 1:
        raise NandError(f"the log has {len(found)} entries {number}, of merged branches; use nand add or nand remove")
    (one,) = found
    if not one.holds:
        raise NandError(f"entry {number} ({one.entry.class_name}, {one.entry.text!r}): {one.state}; see 'nand log'")
    return one.entry


def _again(params: Params, groups: Groups, entry: Entry) -> Change:
    """What was removed, as it was."""
    like, unlike = ([_given(entry, one) for one in side] for side in (entry.like, entry.unlike))
    shown = Examples(like, unlike, from_test=True)  # that was decided when they were added
    ask = entry.asked and not entry.phrases  # with phrases it is asked in any case
    name, text = entry.class_name, entry.text
    change = addition(
        params, groups, name, text, entry.phrases,
        examples=shown, ask=ask, force=entry.force, strength=entry.strength,
    )  # fmt: skip
    if not entry.explicit or text in params.prompts.explicit.get(name, {}):
        return change
    reviewed = ("prompts", "explicit", name, text)
    return replace(change, edit=lambda file: append(change.edit(file), reviewed, list(entry.explicit)))


def _given(entry: Entry, one: Example) -> Given:
    box = ",".join(map(str, one.box)) if one.box else None
    return Given(_file(entry, one.image), box, _file(entry, one.mask) if one.mask else None)


def _file(entry: Entry, name: str) -> Path:
    """Where an example's file is: in its place if another normality has it, else a copy out of DVC's cache."""
    wanted = Path(entry.class_name, name)
    for folder in (EXAMPLES, BACK):
        if _is(folder / wanted, name):
            return folder / wanted
    kept = next((path for path in _cached(wanted.as_posix()) if _is(path, name)), None)
    if kept is None:
        raise NandError(
            f"{EXAMPLES / wanted}: its file is gone and not in DVC's cache; 'dvc fetch --all-commits' gets it from the"
            f" remote if a commit has it, or start from the image: nand add {entry.class_name} ... --like IMAGE"
        )
    with replacing(BACK / wanted) as temporary:
        shutil.copyfile(kept, temporary)
    return BACK / wanted


def _is(path: Path, name: str) -> bool:
    return path.is_file() and sha256_file(path).startswith(name[:DIGITS])


def _cached(wanted: str) -> Iterator[Path]:
    """The files that any folder in DVC's cache has under the name ``wanted``."""
    try:
        objects = dvc_objects()
    except NandError:  # no cache, no file in it
        return
    for listing in objects.glob("*/*.dir"):
        with suppress(ValueError):  # damaged: another listing may have it
            yield from (
                objects / row["md5"][:2] / row["md5"][2:]
                for row in json.loads(listing.read_bytes())
                if row["relpath"] == wanted
            )
