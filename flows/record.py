"""``.nand/last_run.json``: what the last run computed and what it took from the cache."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nand_core.artifacts.disk import refusals, replacing

if TYPE_CHECKING:
    import psutil

FILE = "last_run.json"
RUN_ID = "NAND_RUN_ID"
IMAGE_FEATURES = "image_features"
"""Stands among the stages of a record: the images that they have encoded."""
WRITTEN = "NAND_INPUTS_WRITTEN"
"""Set to a run that has itself just written what its stages depend on (``flows.inputs``)."""
BESIDE = "NAND_BESIDE"
"""Names the run of a bare dvc, whose stages share a process (``flows.beside``)."""


@dataclass
class StageCounts:
    """Items of one stage; ``seconds`` of wall time."""

    items: int = 0
    executed: int = 0
    cached: int = 0
    seconds: float = 0.0

    def count(self, cached: bool) -> None:
        """One more item."""
        self.items += 1
        self.cached += cached
        self.executed += not cached


def run_id() -> str:
    """Names the run that this process belongs to: given by ``nand repro``, else the ``dvc`` above it."""
    if given := os.environ.get(RUN_ID) or os.environ.get(BESIDE):
        return given
    import psutil

    process = dvc_above() or psutil.Process()
    return f"{process.pid}-{process.create_time():.2f}"


def dvc_above() -> psutil.Process | None:
    """The ``dvc`` that runs this process as a stage."""
    import psutil

    for parent in psutil.Process().parents():
        if any(Path(word).name == "dvc" for word in parent.cmdline()[:3]):
            return parent
    return None


def record_stage(folder: Path, stage: str, counts: StageCounts) -> None:
    """Add one stage's counts to the current run's record, begun anew when the run is another one."""
    from filelock import FileLock

    path = folder / FILE
    with refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with refusals(folder), FileLock(folder / f"{FILE}.lock"):
        found = read_run(folder)
        stages = found["stages"] if found.get("run") == run_id() else {}
        values = asdict(counts)
        if stage in stages:
            values = {name: stages[stage][name] + value for name, value in values.items()}
        values["seconds"] = round(values["seconds"], 3)
        with replacing(path) as temporary:
            content = {"run": run_id(), "stages": {**stages, stage: values}}
            temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_run(folder: Path) -> dict[str, Any]:
    """The last run's record, ``{}`` where there is none that can be read."""
    try:
        found = json.loads((folder / FILE).read_text())
        stages = {name: asdict(StageCounts(**counts)) for name, counts in found["stages"].items()}
        return {"run": found["run"], "stages": stages}
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
