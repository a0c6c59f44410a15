"""A run of the pipeline: its surroundings, its programs, and the record of what was run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.checkout import mend, one_run
from flows.processes import sigterm_raises
from flows.record import FILE, IMAGE_FEATURES, read_run
from flows.warm import warm_process
from nand.project.log import settle
from nand.project.place import STATE, require_project
from nand_core.artifacts.disk import refusals, replacing, require_room
from nand_core.artifacts.remote import within_reach
from nand_core.errors import NandError


@contextmanager
def running(run: str) -> Iterator[dict[str, str]]:
    """Alone in this checkout and with a Prefect server: yields the environment for the stages of the run.

    Both start with the first stage (:mod:`flows.warm`).

    Raises
    ------
    NandError
        Outside a project, and when the disk has no room or cannot be written. SIGTERM leaves as SystemExit.
    """
    require_project()
    require_room(STATE)
    environment = run_environment(run)
    with (
        refusals(STATE),
        sigterm_raises(),
        one_run(STATE),
        warm_process(STATE / "warm", STATE / "prefect", environment) as environment,
    ):
        mend(STATE)
        settle()
        yield environment


def run_environment(run: str) -> dict[str, str]:
    """This process's, for the stages of one run: its name, and the programs beside this Python first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return within_reach(STATE, {**os.environ, "NAND_RUN_ID": run, "DO_NOT_TRACK": "1", "PATH": path})


def dvc(*arguments: str) -> list[str]:
    """A command of dvc; where another dvc is at work in this checkout it waits."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def without_always(said: str) -> dict[str, list[Any]]:
    """What ``dvc status --json`` says, but for the stage that always runs: its outs say whether anything changed."""
    status: dict[str, list[Any]] = json.loads(said)
    changes = {stage: [one for one in found if one != "always changed"] for stage, found in status.items()}
    return {stage: found for stage, found in changes.items() if found}


def dvc_objects() -> Path:
    """Where DVC's cache keeps contents, by the first two digits of their md5 and the others; NandError without DVC."""
    said = subprocess.run(dvc("cache", "dir"), capture_output=True, text=True, check=False)
    if said.returncode:
        raise NandError(f"dvc cache dir failed: {' '.join(said.stderr.split()[-60:])}")
    return Path(said.stdout.strip(), "files", "md5")


def complete_record(run: str, stages: Sequence[str]) -> None:
    """Stages that there was no reason to run stand in the record with nothing executed."""
    found = read_run(STATE)
    ran = found["stages"] if found.get("run") == run else {}
    nothing = {"items": 0, "executed": 0, "cached": 0, "seconds": 0.0}
    names = [*stages, *(name for name in (*ran, IMAGE_FEATURES) if name not in stages)]
    record = {"run": run, "stages": {name: ran.get(name, nothing) for name in dict.fromkeys(names)}}
    with replacing(STATE / FILE) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
