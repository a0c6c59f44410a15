"""``python -m flows STAGE [ARGUMENT ...]``: what dvc.yaml and ``nand`` run."""

from __future__ import annotations

import atexit
import importlib
import inspect
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flows.mistakes import in_one_line
from flows.record import BESIDE, RUN_ID, WRITTEN, dvc_above
from nand_core.errors import NandError

if TYPE_CHECKING:
    from nand_core.settings import RunSettings

STAGES = (
    "inputs",
    "demo_data",
    "dataset",
    "adaptation",
    "examples",
    "prompts",
    "text_features",
    "base_maps",
    "suppression",
    "evaluate",
    "report",
    "normality",
    "trial",
    "inspection",
    "pipeline",
)
QUIET = ("normality",)
"""Who waits for seconds (``nand add``) need not read what Prefect calls the run."""


class _OneLine(logging.Filter):
    """Shows a user's mistake without a traceback; ``main`` prints it as the last line."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and in_one_line(record.exc_info[1]))


def main(arguments: list[str]) -> int:
    """Run one stage; a user's mistake is one line on stderr and exit status 1."""
    if not arguments or arguments[0] not in STAGES:
        print(f"usage: python -m flows {{{'|'.join(STAGES)}}} [ARGUMENT ...]", file=sys.stderr)
        return 2
    name, *rest = arguments
    if arguments == ["inputs"]:
        return _inputs()
    from flows.processes import stops_soon

    stopped = f"{name}: stopped; finished items are kept, the same command goes on from there"
    with stops_soon(stopped):
        return _run(name, rest, stopped)


def _inputs() -> int:
    """No flow: it starts no server, and is done before Prefect would be imported."""
    from flows.inputs import inputs

    try:
        inputs()
    except (NandError, FileNotFoundError) as error:
        if not (mistake := in_one_line(error)):
            raise
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 0


def _run(name: str, rest: list[str], stopped: str) -> int:
    from flows.warm import is_flow

    try:
        from nand_core.artifacts.disk import require_room
        from nand_core.config import load_params

        require_room(Path(".nand"))  # Prefect makes its home in it (prefect.toml), but no parent of it
        settings = load_params(Path("params.yaml")).run
        if is_flow(name, os.environ):
            _as_flow(name, rest, settings)
        else:
            _directly(name, rest)
    except (NandError, OSError) as error:
        if not (mistake := in_one_line(error)):
            raise
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit) as stop:
        print(stopped, file=sys.stderr)
        return stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130
    return 0


def _directly(name: str, rest: list[str]) -> None:
    """As the function that it is."""
    from flows.loading import load
    from flows.processes import sigterm_raises

    load((f"flows.{name}",))
    stage = getattr(importlib.import_module(f"flows.{name}"), name)
    try:
        inspect.signature(stage).bind(*rest)
    except TypeError as error:
        raise NandError(f"{name}: {error}") from error
    with sigterm_raises():
        stage(*rest)


def _as_flow(name: str, rest: list[str], settings: RunSettings) -> None:
    from flows.loading import load
    from flows.processes import sigterm_raises
    from flows.server import PROCESS, wait_for_server
    from flows.warm import PREFECT

    load((*PREFECT, f"flows.{name}"))  # takes seconds, in which the server starts
    from prefect.exceptions import ParameterBindError, ParameterTypeError
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.runners import as_flow

    stage = getattr(importlib.import_module(f"flows.{name}"), name)
    if url := os.environ.get("PREFECT_API_URL"):
        wait_for_server(url, _patience(), int(os.environ[PROCESS]) if PROCESS in os.environ else None)
    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(_OneLine())
    # The stage's own lines say how far it is; hundreds of "Finished in state Completed()" would bury them.
    for logger in ("prefect.task_runs", *(("prefect", "prefect.flow_runs") if name in QUIET else ())):
        logging.getLogger(logger).setLevel(logging.WARNING)
    # Whoever started this process sees it end: the thread that reports its pulse would add a second to each flow.
    with sigterm_raises(), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            as_flow(stage, settings, *rest)(*rest)
        except (ParameterBindError, ParameterTypeError) as error:
            raise NandError(f"{name}: {error}") from error


def _patience() -> float:
    """Seconds for the server to answer: whoever shares one among the stages has just started it, or has asked it."""
    from flows.server import GIVEN, STARTING

    return STARTING if os.environ.get(RUN_ID) or os.environ.get(BESIDE) else GIVEN


def _end_at_once(status: list[int]) -> None:
    """Leave out what Python does last, taking torch's modules apart: more than a second for every stage."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status[-1])


def _ran_elsewhere(arguments: list[str]) -> int | None:
    """The exit status of what needs no work, or has a warm process to do it; None: it is to be done here."""
    if arguments == ["inputs"] and os.environ.get(WRITTEN) == os.environ.get(RUN_ID, ""):
        return 0
    if dvc := dvc_above():
        from flows.processes import end_after

        end_after(dvc)
    if arguments == ["inputs"]:
        return None
    if dvc:
        from flows.beside import join

        join(dvc)
    from flows.warm import handed_over

    return handed_over(arguments)


if __name__ == "__main__":
    status = [1]  # of a run that an exception ends
    atexit.register(_end_at_once, status)  # the first to be registered is called last: Prefect sends its logs before
    arguments = sys.argv[1:]
    if arguments[:1] == ["--beside"]:
        from flows.beside import beside

        beside(arguments[1])
        sys.exit(0)
    if arguments[:1] == ["--warm"]:
        from flows.warm import serve

        ran, arguments = None, serve(*arguments[1:])
    else:
        ran = _ran_elsewhere(arguments)
    status.append(main(arguments) if ran is None else ran)
    sys.exit(status[-1])
