"""One warm process for the stages of a run: it imports what they need once, and forks itself for each of them.

``python -m flows STAGE`` asks for that where ``NAND_WARM`` names the socket of such a process, and is then no more than
the stage's place in the tree of processes: it hands signals on, and the stage ends with it. Where something is not as
the warm process found it (the environment, the folder, an edited module) the stage runs in a process of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.loading import load
from flows.record import WRITTEN

VARIABLE = "NAND_WARM"
PREFECT = ("prefect.flow_engine", "prefect.task_engine", "fastapi.encoders", "flows.runners")
OWN = "NAND_OWN_SERVER"
"""Set where the Prefect server is this run's own and gone with it."""
LATE = "nand_core.vlm.encoder"
"""Imported when an item is computed: where one stage came to need it, the next one finds it there."""
OURS = ("flows", "tasks", "nand_core")
# What nand, dvc and a shell add for each command.
_OF_A_COMMAND = (WRITTEN, "DVC_", "_", "SHLVL", "PWD", "OLDPWD")
_COLD = b"cold"


@contextmanager
def warm_process(path: Path, home: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A warm process, ended again; with PREFECT_API_URL unset it starts a Prefect server for the first flow.

    Yields the environment with which stages find both.

    Args:
        path: of its socket, short and relative, as a socket's name may have 100 characters at most.
        home: of the server.
        environment: that of the stages.

    Raises
    ------
    NandError
        When no Prefect server answers at PREFECT_API_URL.
    """
    from flows.local_server import URL, free_address, given, local_server
    from flows.processes import end_tree

    # A page that is gone with this run is not worth a link for each of its stages.
    own = {"PREFECT_UI_URL": "", OWN: "1"}
    url, own = (answers, {}) if (answers := given(environment)) else (free_address(), own)
    found = {**environment, **own, URL: url, VARIABLE: str(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
        except OSError:  # a file system without sockets
            with local_server(home, environment) as url:
                yield {**environment, **own, URL: url}
            return
        path.chmod(0o600)
        listener.listen()
        number = listener.fileno()
        command = [sys.executable, "-m", "flows", "--warm", str(os.getpid()), str(number), str(home) if own else ""]
        process = subprocess.Popen(command, env=found, stdin=subprocess.DEVNULL, pass_fds=[number])
    try:
        yield found
    finally:
        end_tree(process)
        path.unlink(missing_ok=True)


def is_flow(stage: str, environment: Mapping[str, str]) -> bool:
    """Whether a stage runs as a flow.

    Not what ``nand add`` and the like run, for which somebody waits, where none but this run would see it: a server
    takes longer than they do. A trial is none anywhere.
    """
    return stage != "trial" and (stage != "normality" or OWN not in environment)


def prepare(environment: Mapping[str, str], stage: str, *modules: str) -> None:
    """Have the warm process of this environment import what a stage will need, while this process goes on."""
    with socket.socket(socket.AF_UNIX) as warm, suppress(OSError):
        _ask(warm, environment, [stage], modules)


def handed_over(arguments: Sequence[str]) -> int | None:
    """Run a stage in the warm process: its exit status; None where it has to be run here."""
    early: list[int] = []  # signals that came before there was a stage to hand them on to
    asked = False
    with socket.socket(socket.AF_UNIX) as warm:

        def hand_on(number: int, frame: object) -> None:
            if not asked:
                early.append(number)
                return
            with suppress(OSError):  # it has just ended
                warm.send(bytes([number]))

        before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _ask(warm, os.environ, arguments)
            asked = True
            for number in early:
                hand_on(number, None)
            answer = warm.recv(16)
        except OSError:
            answer = b""
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if not asked:
        for number in early:
            os.kill(os.getpid(), number)
        return None
    if not answer:
        print(f"{arguments[0]}: the process that ran it was killed", file=sys.stderr)
        return 1
    return None if answer == _COLD else int(answer)


def _ask(
    warm: socket.socket, environment: Mapping[str, str], arguments: Sequence[str], modules: Sequence[str] | None = None
) -> None:
    """To run a stage, or to import ``modules`` beside it; OSError where there is none."""
    warm.connect(environment.get(VARIABLE, ""))
    said = {"arguments": list(arguments), "modules": modules, "from": _surroundings(environment)}
    request = json.dumps(said).encode()
    socket.send_fds(warm, [len(request).to_bytes(4)], [0, 1, 2])
    warm.sendall(request)


def serve(parent: str, number: str, home: str) -> list[str]:
    """Be the warm process: fork one for each stage that is asked for.

    Args:
        parent: this process ends with it.
        number: the listening socket's.
        home: of the Prefect server, which starts with the first flow; "" where there is one.

    Returns:
        The arguments of a stage, in its own process alone.
    """
    from flows.local_server import start_server
    from flows.processes import end_with_parent
    from flows.server import PROCESS

    end_with_parent(signal.SIGTERM, int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's goes to the stage by way of who asked for it
    listener, asked = socket.socket(fileno=int(number)), False
    servers: list[subprocess.Popen[bytes]] = []  # none is waited for
    found, loaded, late_ones, own = _surroundings(os.environ), _sources(), list[str](), os.getpid()
    while True:
        client, _ = listener.accept()
        request, files = _received(client)
        arguments, runs = request["arguments"], request["modules"] is None
        if (flow := is_flow(arguments[0], os.environ)) and home and not servers:
            servers.append(start_server(Path(home), os.environ))
            os.environ[PROCESS] = str(servers[0].pid)
        if flow and runs and not asked:
            print(f"Prefect: {os.environ['PREFECT_API_URL'].removesuffix('/api')} (while this runs)", flush=True)
        asked = True
        if same := request["from"] == found:
            modules = (*(PREFECT if flow else ()), f"flows.{arguments[0]}", *late_ones, *(request["modules"] or ()))
            loaded = _load(modules, loaded)
        if not runs or not same or _sources() != loaded:
            _answer(client, _COLD, files)
            continue
        late, told = os.pipe()
        if not (child := os.fork()):
            listener.close()
            end_with_parent(signal.SIGKILL, own)
            _become(client, files)
            atexit.register(_tell, told)
            return list(arguments)
        os.close(told)
        _answer(client, str(_waited(child)).encode(), files)
        os.set_blocking(late, False)
        with os.fdopen(late, "rb", buffering=0) as file:
            late_ones += [LATE] * (file.read() == b"1")


def _tell(told: int) -> None:
    os.write(told, b"1" if LATE in sys.modules else b"0")


def _load(modules: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
    """Import modules; what :func:`_sources` says now, -1 for a file that may have been edited after it was read."""
    began = time.time_ns()
    load(modules)
    return {file: before.get(file, when if when < began else -1) for file, when in _sources().items()}


def _surroundings(environment: Mapping[str, str]) -> dict[str, Any]:
    """What modules may have looked at when they were imported."""
    own = {name: value for name, value in environment.items() if not name.startswith(_OF_A_COMMAND)}
    return {"python": sys.executable, "folder": os.getcwd(), "environment": own}


def _received(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request and the standard streams of who asks."""
    head, files, *_ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as stream:
        request: dict[str, Any] = json.loads(stream.read(int.from_bytes(head)))
    return request, files


def _answer(client: socket.socket, said: bytes, files: Sequence[int]) -> None:
    with client, suppress(OSError):  # nobody there any more
        client.sendall(said)
    for file in files:
        os.close(file)


def _waited(child: int) -> int:
    """The exit status, as a shell says it."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


def _become(client: socket.socket, files: Sequence[int]) -> None:
    """Make this fork the process of who asked: its streams, its signals, its end."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)

    def listen() -> None:
        while said := client.recv(1):
            os.kill(os.getpid(), said[0])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()


def _sources() -> dict[str, int]:
    """When the files of the modules that are loaded were last written."""
    ours = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in OURS]
    files = {file for module in ours if (file := getattr(module, "__file__", None))}
    return {file: os.stat(file).st_mtime_ns if os.path.exists(file) else 0 for file in files}
