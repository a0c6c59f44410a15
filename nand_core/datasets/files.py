"""Listing a data set's folders and files, and refusing what would be read wrongly or not at all."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nand_core.datasets.layout import EXTENSIONS
from nand_core.errors import NandError, printable

SHOWN = 5

_NOTES = frozenset({".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log"})
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
_NO_FILE_NAME = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_LONGEST = 100


def listed(items: Iterable[object], separator: str = ", ") -> str:
    """The first five of ``items`` and how many more there are, as one line."""
    texts = list(map(printable, items))
    more = f"{separator}and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return separator.join(texts[:SHOWN]) + more


def entries(folder: Path) -> list[Path]:
    """What lies in ``folder``, sorted, without hidden files and the litter of operating systems."""
    try:
        return sorted(entry for entry in folder.iterdir() if not _is_litter(entry.name))
    except OSError as error:
        raise NandError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error


def folders(folder: Path) -> list[str]:
    """The names of the sub-folders, sorted; raises NandError for two that are too alike."""
    names = [entry.name for entry in entries(folder) if entry.is_dir()]
    check_clashes(names, str(folder))
    return names


def image_names(folder: Path) -> list[str]:
    """The names of the images in ``folder``, sorted; notes beside them (.txt, .csv, ...) are passed over.

    Raises NandError for anything else, as it would silently be missing: other file types, sub-folders, links
    to nowhere; and for two names that differ only in their case or extension.
    """
    found = [entry for entry in entries(folder) if not is_note(entry.name)]
    if strange := [e.name for e in found if not (e.is_file() and e.suffix.lower() in EXTENSIONS)]:
        known = ", ".join(sorted(EXTENSIONS))
        raise NandError(f"{folder}: not an image file ({known}): {listed(strange)}; convert or move it away")
    check_clashes((entry.name for entry in found), str(folder), lambda name: Path(name).stem)
    return [entry.name for entry in found]


def is_note(name: str) -> bool:
    """Whether a file of this name can lie beside the images without being missed."""
    return _is_litter(name) or Path(name).suffix.lower() in _NOTES


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def check_clashes(names: Iterable[str], where: str, part: Callable[[str], str] = str) -> None:
    """Raises NandError if two names are equal, or would be where case or Unicode form does not count.

    ``part`` is what of a name has to be different, such as all but its extension.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", part(name)).casefold()
        if key in seen:
            other = seen[key]
            how = "extension" if part(other) == part(name) else "case or form of their letters"
            raise NandError(f"{where}: {other!r} and {name!r} clash, their {how} alone tells them apart; rename one")
        seen[key] = name


def check_name(kind: str, name: str) -> None:
    """Raises NandError for a class, type or group whose name cannot name a file on every system."""
    if not name or name.strip(" .") != name or len(name) > _LONGEST or _NO_FILE_NAME.search(name):
        raise NandError(
            f"{kind} {name!r}: at most {_LONGEST} characters, no dot or space at an end and none of "
            '\\ / : * ? " < > | or characters that cannot be seen; rename it'
        )


def check_inside(root: Path, paths: Sequence[str]) -> None:
    """Raises NandError for relative ``paths`` that are no files or lead out of ``root`` (by a link)."""
    inside = root.resolve()
    parents = {parent: parent.resolve() for parent in {(root / path).parent for path in paths}}
    missing, outside = [], []
    for path in paths:
        full = root / path
        real = Path(os.path.realpath(full)) if full.is_symlink() else parents[full.parent] / full.name
        if not real.is_relative_to(inside):
            outside.append(path)
        elif not real.is_file():
            missing.append(path)
    if outside:
        raise NandError(f"{root}: leads out of the data root: {listed(outside)}; copy the files into it")
    if missing:
        raise NandError(f"{root}: missing: {listed(missing)}; copy the data set again or correct the list")
    unencodable = [path.encode("utf-8", "backslashreplace").decode() for path in paths if not _is_utf8(path)]
    if unencodable:
        raise NandError(f"{root}: the name is not UTF-8: {listed(unencodable)}; rename it")


def _is_utf8(path: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in path)
