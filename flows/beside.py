"""What the stages of a bare ``dvc repro`` or ``dvc exp run`` share: one Prefect server and one warm process.

The first stage starts them in a process of their own, which ends when that dvc does, however it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import psutil
from filelock import FileLock

from flows.processes import at_work
from flows.record import BESIDE
from flows.warm import OWN, VARIABLE, warm_process
from nand_core.artifacts.disk import refusals, replacing

STATE = Path(".nand")
POLL = 0.2
ADDED = (BESIDE, VARIABLE, OWN, "PREFECT_API_URL", "PREFECT_UI_URL")


def join(dvc: psutil.Process) -> None:
    """Take into this process's environment what the stages of ``dvc`` share, starting it for the first of them.

    Where it cannot be started the stage does without.
    """
    if VARIABLE in os.environ:  # a nand above
        return
    name = f"{dvc.pid}-{dvc.create_time():.2f}"
    with refusals(STATE):
        STATE.mkdir(exist_ok=True)
        with FileLock(STATE / "beside.lock"):
            shared = _read()
            if shared.get(BESIDE) != name:
                shared = _start(name)
    os.environ.update(shared)


def _read() -> dict[str, str]:
    """What the process said that was started last; {} where it is there no more."""
    try:
        said: dict[str, Any] = json.loads((STATE / "beside.json").read_text(encoding="utf-8"))
        process = psutil.Process(said["pid"])
        alive = process.create_time() == said["began"] and process.status() != psutil.STATUS_ZOMBIE
        return dict(said["environment"]) if alive else {}
    except (OSError, ValueError, LookupError, TypeError, psutil.Error):
        return {}


def _start(name: str) -> dict[str, str]:
    with (STATE / "beside.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "--beside", name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    with cast(IO[str], process.stdout) as said:  # there, as it is a PIPE
        line = said.readline()
    if not line:
        return {}
    environment: dict[str, str] = json.loads(line)
    with replacing(STATE / "beside.json") as temporary:
        began = psutil.Process(process.pid).create_time()
        temporary.write_text(json.dumps({"pid": process.pid, "began": began, "environment": environment}))
    return environment


def beside(name: str) -> None:
    """Be that process: say what its stages need on one line, end with the dvc that ``name`` tells."""
    number, _, began = name.partition("-")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    said = os.fdopen(os.dup(1), "w")  # who started this reads one line; what is said below belongs into the log
    os.dup2(2, 1)
    with (
        suppress(psutil.NoSuchProcess),
        warm_process(STATE / "beside", STATE / "prefect", {**os.environ, BESIDE: name}) as shared,
    ):
        said.write(json.dumps({key: shared[key] for key in ADDED if key in shared}) + "\n")
        said.close()
        dvc = psutil.Process(int(number))
        while at_work(dvc) and f"{dvc.create_time():.2f}" == began:
            time.sleep(POLL)
