"""``normalities.jsonl``: who made what normal, or took it back, when and with which effect; one line an entry.

Lines are only ever appended, by whoever holds the lock of :func:`nand.project.run.running`. An entry is first laid down
in ``.nand`` and appended once params.yaml is changed: a run that is killed in between owes it, and the next one pays.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from flows.checkout import NORMALITIES_LOG
from nand.project.place import PARAMS, STATE
from nand_core.artifacts.disk import refusals, replacing
from nand_core.prompts.clean import clean
from nand_core.prompts.settings import Added, Example, PromptSettings
from nand_core.settings import Settings

LOG = NORMALITIES_LOG
OWED = STATE / "owed_entry.json"
BROKEN = STATE / f"{LOG.name}.broken"

Key = tuple[str, str]
"""A class and the cleaned text of one of its normalities: there is at most one of each."""


class _Lines(Settings):
    """A line of a later version may say more."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class Alarms(_Lines):
    """Test images of one kind, and how many of them raise an alarm before and after the change.

    ``added``: the kind is a group that is normal afterwards, so that its alarms are to go.
    """

    images: int = Field(ge=0)
    alarms_before: int = Field(ge=0)
    alarms_after: int = Field(ge=0)
    added: bool = False


class Versions(_Lines):
    """What the effect was computed with.

    Attributes:
        nand: the program's version.
        commit: that was checked out; "" without git.
        modified: files under version control differed from it, those aside that ``nand add`` itself changes.
        params: sha256 of params.yaml after the change.
        weights: sha256 of each file of the encoder by its role, and of the class's ``heads`` where it has some.
    """

    nand: str = ""
    commit: str = ""
    modified: bool = False
    params: str = ""
    weights: dict[str, str] = Field({})


class Entry(_Lines):
    """One change of what is normal; it names no path.

    Attributes:
        id: from 1 on.
        time: UTC, such as 2026-11-24T02:00:00Z.
        text, group, phrases, like, unlike, asked, force, strength: those of :class:`nand_core.normalities.Normality`.
        explicit: phrases under ``prompts.explicit`` that were removed with it.
        effect: by detector and kind of image (a group, a type that is in none, or ``good``).
        lost: by detector, images neither good nor of an added group that raised an alarm before, but not after it.
        undoes: the entry that it reverses.
    """

    id: int = Field(ge=1)
    time: str
    who: str
    action: Literal["add", "remove"]
    class_name: str = Field(alias="class")
    text: str
    group: str = ""
    phrases: tuple[str, ...] = ()
    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()
    asked: bool = True
    force: bool = False
    strength: float = 1.0
    explicit: tuple[str, ...] = ()
    effect: dict[str, dict[str, Alarms]] = Field({})
    lost: dict[str, int] = Field({})
    versions: Versions = Versions()
    undoes: int | None = None

    @property
    def key(self) -> Key:
        """Which normality it is about."""
        return self.class_name, clean(self.text)

    def is_of(self, found: Added) -> bool:
        """Whether an entry of params.yaml says what was added or removed."""
        mine = self.phrases, self.like, self.unlike, self.asked, self.strength
        return mine == (found.phrases, found.like, found.unlike, found.asked, found.strength)

    def took_effect(self, prompts: PromptSettings) -> bool:
        """Whether the settings are those after the change."""
        found = standing_in(prompts).get(self.key)
        return found is None if self.action == "remove" else found is not None and self.is_of(found)

    def line(self) -> str:
        """As it stands in the file, without the line break."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class Log:
    """The entries in their order, the lines that hold them, and what is wrong with any other line."""

    entries: tuple[Entry, ...] = ()
    lines: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def standing_in(prompts: PromptSettings) -> dict[Key, Added]:
    """What params.yaml says is normal."""
    return {(name, clean(one.text)): one for name, entries in prompts.normalities.items() for one in entries}


def read(prompts: PromptSettings) -> Log:
    """The log, with the entry that a killed run still owes if the settings have its change; nothing is written."""
    log, owed = _read(), _owed()
    if owed is None or _has(log.entries, owed) or not owed.took_effect(prompts):
        return log
    return Log((*log.entries, owed), (*log.lines, owed.line()), log.faults)


@contextmanager
def logged(entry: Entry, settings: str) -> Iterator[None]:
    """Append ``entry``, with the next number, if the block makes ``settings`` the text of params.yaml.

    Raises
    ------
    NandError
        When the disk is full or cannot be written: before the block, as a rule, and else the entry is owed.
    """
    digest = hashlib.sha256(settings.encode()).hexdigest()
    versions = entry.versions.model_copy(update={"params": digest})
    owed = entry.model_copy(update={"id": _next(), "versions": versions})
    with replacing(OWED) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(owed.line())
        _to_disk(file)
    try:
        yield
    finally:
        settle()


def settle() -> None:
    """Append what a run still owes, and forget it; set aside a last line that a killed one left half-written.

    Only for the holder of the checkout's lock: :func:`nand.project.run.running` begins with it.
    """
    _mend()
    owed = _owed()
    if owed is None:
        return
    from nand_core.config import load_params

    if not _has(_read().entries, owed) and owed.took_effect(load_params(PARAMS).prompts):
        _append(owed)
    OWED.unlink()


def _next() -> int:
    log = _read()
    # A line that cannot be read may have had a number as well.
    return max([len(log.entries) + len(log.faults), *(entry.id for entry in log.entries)]) + 1


def _owed() -> Entry | None:
    try:
        return _parsed(OWED.read_bytes())
    except FileNotFoundError:
        return None


def _has(entries: Sequence[Entry], one: Entry) -> bool:
    return any((entry.id, entry.time, entry.key) == (one.id, one.time, one.key) for entry in entries)


def _read() -> Log:
    entries, lines, faults = [], [], []
    whole, half = _content()
    for number, line in enumerate([*whole.splitlines(), *[half] * bool(half)], 1):
        entry = _parsed(line)
        if entry:
            entries.append(entry)
            lines.append(line.decode())
        elif line is half:
            faults.append(f"{LOG}: its last line is half-written, by a run that was killed; it is left out")
        elif line.strip():
            faults.append(f"{LOG}, line {number}: no entry, it is left out")
    return Log(tuple(entries), tuple(lines), tuple(faults))


def _content() -> tuple[bytes, bytes]:
    """The file's whole lines, and what follows the last line break."""
    try:
        with refusals(LOG):
            content = LOG.read_bytes()
    except FileNotFoundError:
        return b"", b""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def _parsed(line: bytes) -> Entry | None:
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        return None


def _append(entry: Entry) -> None:
    with refusals(LOG), LOG.open("ab") as file:
        file.write(f"{entry.line()}\n".encode())
        _to_disk(file)
    folder = os.open(LOG.parent, os.O_RDONLY)  # which has the name of a new file
    try:
        with suppress(OSError):  # some network file systems do not know it
            os.fsync(folder)
    finally:
        os.close(folder)


def _mend() -> None:
    """End the file with a line break: what stands behind the last one is set aside unless it is an entry."""
    whole, half = _content()
    if not half:
        return
    with refusals(LOG), LOG.open("r+b") as file:
        if _parsed(half):  # an editor took the line break away
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            with replacing(BROKEN) as temporary:
                temporary.write_bytes(half)
            file.truncate(len(whole))
            print(f"{LOG}: last line half-written by a run that was killed, set aside as {BROKEN}", file=sys.stderr)
        _to_disk(file)


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
