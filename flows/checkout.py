"""A checkout in which one run after the other works, whatever the one before left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.processes import at_work, end_all
from flows.record import RUN_ID
from nand_core.artifacts.disk import refusals
from nand_core.errors import NandError
from nand_core.yaml12 import merge_mark

DVC_LOCK = Path("dvc.lock")
DVC_RUNNING = Path(".dvc/tmp/rwlock")
NORMALITIES_LOG = Path("normalities.jsonl")
POLL = 0.2


@contextmanager
def one_run(state: Path) -> Iterator[None]:
    """Wait for another run in this checkout, and end what one that was killed left at work.

    The kernel lets go of the lock when its holder ends.
    """
    with refusals(state):
        state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(state / "repro.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print("another run is at work in this checkout: waiting for its end", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        end_orphans()
        yield
    finally:
        lock.release()


def git(*arguments: str) -> str:
    """What git says; NandError if it fails or is not there."""
    try:
        said = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the PATH's git
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise NandError(f"git cannot be run ({error.strerror}); install it") from error
    if said.returncode:
        raise NandError(f"git {arguments[0]}: {' '.join((said.stderr or said.stdout).split())}")
    return said.stdout.strip()


def head() -> str:
    """The commit that is checked out, 40 hexadecimal digits; "" outside git."""
    try:
        return git("rev-parse", "--verify", "HEAD")
    except NandError:
        return ""


def end_orphans() -> None:
    """End the processes of earlier runs in this checkout: whoever calls it holds the lock, so none is wanted."""
    here, own = Path.cwd(), psutil.Process()
    kin = {own.pid, *(one.pid for one in own.parents())}
    found = []
    for one in psutil.process_iter():
        try:
            if one.pid not in kin and one.environ().get(RUN_ID) and Path(one.cwd()).is_relative_to(here):
                found.append(one)
        except (psutil.Error, OSError):  # another user's, or gone meanwhile
            continue
    if found:
        names = ", ".join(str(one.pid) for one in found)
        print(f"a run that was killed left processes at work ({names}): ending them", file=sys.stderr, flush=True)
        end_all(found)


def mend(state: Path) -> None:
    """Wait for a dvc that works here by itself, set aside what one was killed in the middle of writing.

    dvc writes these two files in place; without them it looks at every stage anew. What killed ones had claimed is let
    go. To be called while no other run is at work (:func:`one_run`).
    """
    _wait_for_dvc()
    for path, read in ((DVC_LOCK, YAML(typ="safe").load), (DVC_RUNNING, json.load)):
        try:
            with path.open(encoding="utf-8") as file:
                whole = isinstance(read(file), dict)
        except FileNotFoundError:
            continue
        except (YAMLError, ValueError):
            whole = False
        if not whole:
            aside = state / f"{path.name}.broken"
            os.replace(path, aside)
            what = "half-written by a run that was killed"
            if merge_mark(aside.read_text(encoding="utf-8", errors="replace")):
                what = "has git's marks of a merge that is not finished"
            print(f"{path}: {what}, set aside as {aside}; every stage is looked at anew", file=sys.stderr, flush=True)
    if _claims():
        DVC_RUNNING.unlink()


def _wait_for_dvc() -> None:
    told = False
    while at_work := [claim for claim in _claims() if _at_work(claim)]:
        if not told:
            names = ", ".join(sorted({f"{claim['cmd']!r} (PID {claim['pid']})" for claim in at_work}))
            print(f"{names} is at work in this checkout: waiting for its end", file=sys.stderr, flush=True)
        told = True
        time.sleep(POLL)


def _claims() -> list[dict[str, Any]]:
    try:
        running = json.loads(DVC_RUNNING.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [*running.get("write", {}).values(), *chain(*running.get("read", {}).values())]


def _at_work(claim: dict[str, Any]) -> bool:
    """Whether the dvc of a claim still runs; dvc itself takes a zombie, or whoever has its number now, for it."""
    try:
        process = psutil.Process(claim["pid"])
        here = "dvc" in " ".join(process.cmdline()) and Path(process.cwd()).is_relative_to(Path.cwd())
        return here and at_work(process)
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
