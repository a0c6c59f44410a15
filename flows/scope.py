"""Stages limited to the normalities of one class: all other outs stay as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from flows.run import STATE, Run
from nand_core.artifacts.store import Record
from nand_core.normalities import Normality, current, known_groups


def texts(run: Run, class_name: str | None) -> dict[tuple[str, str], Normality | None]:
    """What the text encoder is asked about, of all that has files of its own (:func:`apart`)."""
    return {where: one for where, one in apart(run, class_name).items() if one is None or one.asked}


def apart(run: Run, class_name: str | None) -> dict[tuple[str, str], Normality | None]:
    """What has files of its own, by class and name: the labelled groups (None) and the other normalities.

    With a class named, its normalities alone: its groups are the protocol's, which none of them changes.
    """
    groups = known_groups(run.manifest)
    found: dict[tuple[str, str], Normality | None] = {}
    if class_name is None:
        found = {(name, group): None for name in groups for group in groups[name]}
    for one in current(run.params.prompts, groups):
        if one.apart and class_name in (None, one.class_name):
            found[one.class_name, one.name] = one
    return found


def place(
    run: Run, records: Mapping[tuple[str, str], Record], folder: Path, suffix: str, class_name: str | None
) -> None:
    """Make ``folder`` hold exactly ``<class>/<name><suffix>`` of the records.

    With a class named, in its folder alone, where the groups' files stay as well.
    """
    if class_name is None:
        files = {f"{name}/{stem}{suffix}": record for (name, stem), record in records.items()}
        with run.writing():
            run.work.store.materialise(files, folder)
        return
    kept = {*known_groups(run.manifest)[class_name], *(stem for _, stem in records)}
    with run.writing():
        for path in (folder / class_name).glob("*"):
            if path.name.removesuffix(suffix) not in kept:
                path.unlink()
        for (_, stem), record in records.items():
            run.work.store.materialise_file(record, folder / class_name / f"{stem}{suffix}")


def finish(run: Run, class_name: str | None) -> None:
    """End a stage; the items of what it left alone still are what the results need."""
    noted = STATE / "used" / f"{run.stage}.json"
    if class_name is not None and noted.exists():
        run.used.update(json.loads(noted.read_text()))
    run.finish()
