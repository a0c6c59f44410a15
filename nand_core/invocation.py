"""What commands that run stages share: their environment, and the record of what was run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nand_core.artifacts.disk import replacing
from nand_core.artifacts.remote import within_reach

STATE = Path(".nand")


def run_environment(run: str) -> dict[str, str]:
    """This process's, for the stages of one run: its name, and the programs beside this Python first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return within_reach(STATE, {**os.environ, "NAND_RUN_ID": run, "DO_NOT_TRACK": "1", "PATH": path})


def complete_record(run: str, stages: Sequence[str]) -> None:
    """Stages that there was no reason to run stand in the record with nothing executed."""
    path = STATE / "last_run.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    ran = found["stages"] if found.get("run") == run else {}
    nothing = {"items": 0, "executed": 0, "cached": 0, "seconds": 0.0}
    names = [*stages, *(name for name in (*ran, "image_features") if name not in stages)]
    record = {"run": run, "stages": {name: ran.get(name, nothing) for name in dict.fromkeys(names)}}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
