"""Stages limited to one class: the other classes' outs stay as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from flows.run import STATE, Run
from nand_core.artifacts.store import Record


def place(
    run: Run, records: Mapping[tuple[str, str], Record], folder: Path, suffix: str, class_name: str | None
) -> None:
    """Make ``folder`` hold exactly ``<class>/<name><suffix>`` of the records, in one class's folder if it is named."""
    if class_name is None:
        files = {f"{name}/{stem}{suffix}": record for (name, stem), record in records.items()}
    else:
        files, folder = {f"{stem}{suffix}": record for (_, stem), record in records.items()}, folder / class_name
    with run.writing():
        run.work.store.materialise(files, folder)


def finish(run: Run, class_name: str | None) -> None:
    """End a stage; the items of the classes that it left alone still are what the results need."""
    noted = STATE / "used" / f"{run.stage}.json"
    if class_name is not None and noted.exists():
        run.used.update(json.loads(noted.read_text()))
    run.finish()
