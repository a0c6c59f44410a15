"""The normalities that hold now: which texts a class has, and under what names their files lie."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nand_core.errors import NandError, nearest
from nand_core.prompts.clean import clean
from nand_core.prompts.settings import Added, Example, PromptSettings

if TYPE_CHECKING:
    import pandas as pd

Groups = dict[str, tuple[str, ...]]
_LONGEST = 60


@dataclass(frozen=True)
class Normality:
    """What counts as normal for one class: a text, or what examples show, or both.

    Attributes:
        text: the name of the labelled group that it is, else the free text in its cleaned form.
        group: that group; "" for a free text.
        phrases: its own, where they were given with it.
        name: stem of its files, ``prompts/<class>/<name>.json`` and ``suppression/<class>/<name>.npz``.
        like, unlike: its examples, and those of what it is not.
        asked: whether the text encoder is asked about the text.
        force: it is asked even if it knows no word of it.
        strength: how far what it claims falls, over 0 to 1.
    """

    class_name: str
    text: str
    group: str
    phrases: tuple[str, ...]
    name: str
    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()
    asked: bool = True
    force: bool = False
    strength: float = 1.0

    @property
    def apart(self) -> bool:
        """Whether it has files of its own: a labelled group's are those that the protocol uses."""
        return self.name != self.group


def known_groups(manifest: pd.DataFrame) -> Groups:
    """Every class's labelled groups."""
    return labelled_groups(zip(manifest["class"], manifest["group"], strict=True))


def labelled_groups(found: Iterable[tuple[str, str]]) -> Groups:
    """Every class's labelled groups, of the class and the group ("" for none) of every image."""
    groups: dict[str, set[str]] = {}
    for class_name, group in set(found):
        groups.setdefault(class_name, set()).add(group)
    return {name: tuple(sorted(groups[name] - {""})) for name in sorted(groups)}


def resolve(class_name: str, entry: Added, groups: Collection[str]) -> Normality:
    """What an entry of ``prompts.normalities`` means where the class has these labelled ``groups``."""
    text = clean(entry.text)
    group = next((g for g in sorted(groups) if clean(g) == text or g.casefold() == slug(text)), "")
    if group and not (entry.phrases or entry.like or entry.unlike):
        return Normality(class_name, group, group, (), group, force=entry.force, strength=entry.strength)
    name, shown = slug(text, groups), (entry.like, entry.unlike, entry.asked, entry.force, entry.strength)
    return Normality(class_name, group or text, group, entry.phrases, name, *shown)


def slug(text: str, taken: Iterable[str] = ()) -> str:
    """A file's stem for a cleaned text: ``loose fibre`` -> ``loose_fibre``.

    A digest is appended where the stem would not tell the text from another one, or is among ``taken``.
    """
    plain = re.sub("[^a-z0-9]+", "_", text).strip("_")
    known = {name.casefold() for name in taken}
    if plain == text.replace(" ", "_") and len(plain) <= _LONGEST and plain not in known:
        return plain
    return f"{plain[:_LONGEST] or 'text'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def current(settings: PromptSettings, groups: Mapping[str, Collection[str]]) -> list[Normality]:
    """All normalities that hold now, by class and name, whatever their order in the settings.

    Raises
    ------
    NandError
        For a class that the data set does not have, or a group that stands there twice.
    """
    found: dict[tuple[str, str], Normality] = {}
    for class_name, entries in settings.normalities.items():
        if class_name not in groups:
            raise NandError(f"prompts.normalities: unknown class {class_name!r}{nearest(class_name, groups)}")
        for entry in entries:
            made = resolve(class_name, entry, groups[class_name])
            where = class_name, made.group or made.name
            if where in found:
                raise NandError(f"prompts.normalities.{class_name}: {made.text!r} stands there twice; remove one")
            found[where] = made
    return [found[where] for where in sorted(found)]
