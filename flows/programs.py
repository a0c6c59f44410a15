"""Programs that a deployed flow runs: their lines in the flow's log, their mistakes as errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any, cast

from prefect import State, Task, get_run_logger
from prefect.client.schemas import TaskRun

from flows.consent import STATUS
from flows.processes import end_tree, supervised
from nand_core.errors import NandError

KEPT = 20
"""Last lines of a program that its error repeats."""


class ProgramFailed(Exception):
    """A program ended with an error that it did not call the user's mistake: another try may help."""


def program(module: str, *arguments: str, hours: float = 1.0) -> list[str]:
    """Run ``python -m module arguments`` in the checkout; returns its lines.

    Raises
    ------
    NandError
        With what a line ``error: ...`` of the program says: a mistake that no further try will mend.
    ProgramFailed
        For every other failure, and after ``hours``; the program's whole tree of processes is ended.
    """
    logger = get_run_logger()
    name = " ".join([module, *arguments])
    command, late, lines = [sys.executable, "-m", module, *arguments], threading.Event(), list[str]()
    with supervised(
        command,
        {**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,  # a question would wait for whoever started the worker
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        def stop() -> None:
            late.set()
            end_tree(process)

        clock = threading.Timer(3600 * hours, stop)
        clock.start()
        said = cast(IO[str], process.stdout)  # there, as it is a PIPE
        try:
            for line in said:
                lines.append(line.rstrip())
                logger.info("%s", lines[-1])
            process.wait()
        finally:
            clock.cancel()
            said.close()
    if late.is_set():
        raise ProgramFailed(f"{name}: not ended within {hours:g} hours")
    if process.returncode:
        _fail(name, process.returncode, lines)
    return lines


def _fail(name: str, status: int, lines: Sequence[str]) -> None:
    if status == STATUS:
        asked = [line for line in lines if line.startswith("not added: ")]
        raise NandError(f"{name}: {asked[-1] if asked else 'not agreed to'}")
    mistakes = [line for line in lines if line.startswith("error: ")]
    if mistakes:
        raise NandError(f"{name}: {mistakes[-1].removeprefix('error: ')}")
    last = "\n".join(lines[-KEPT:])
    raise ProgramFailed(f"{name}: exit status {status}\n{last}")


def may_help(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try of a task may help (Prefect's ``retry_condition_fn``): not after a user's mistake."""
    return not isinstance(state.data, NandError)
