"""Whole pipelines that are killed: ``nand repro`` and a bare ``dvc repro``, all of it or a part, at any moment."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from ruamel.yaml import YAML, YAMLError

from benchmarks.cache_faults.trials import REPRO, Bench, Row, succeeded
from benchmarks.scratch import PARAMS, Scratch

DVC_REPRO = (sys.executable, "-m", "dvc", "repro")
EVERY_STAGE = PARAMS | {"encoder": {"device": "cpu", "adapt": {"pictures": 8, "steps": 4}}}
"""Settings with which every stage has something to compute, learned heads too; an example comes by ``nand add``."""
SHOWN = ("--like", "data/demo/carpet/test/color/000.png", "--box", "30,30,60,60", "--from-test", "--yes")
ROUND, LATEST, PATIENCE, END, REAPED = 5, 20.0, 600.0, 60.0, 5.0
"""Kills until a run may end; seconds, of a run that goes on from where the last one was killed, after which it is
killed at the latest; after which one hangs; in which all that it had started has to be gone, and what was killed."""
_SUBREAPER = 36
"""Of Linux's prctl: orphans among what a process has started become its children."""

Tree = list[psutil.Process]
VICTIMS: dict[str, Callable[[str], bool]] = {
    "nand": lambda said: " -m nand repro" in said,
    "the supervisor": lambda said: " -m flows.processes " in said,
    "dvc": lambda said: " -m dvc " in said and "flows.processes" not in said,
    "a stage": lambda said: " -m flows " in said and " -m flows --" not in said,
    "the warm process": lambda said: " -m flows --warm" in said,
    "the process beside": lambda said: " -m flows --beside" in said,
    "the server": lambda said: "flows.local_server" in said,
}
"""What is killed alone, by its command."""


def pipelines(bench: Bench, times: int) -> Iterator[Row]:
    """kill -9 of all of a run or of a part of it, ``ROUND`` times; the run after that ends, with the right bytes.

    dvc writes ``dvc.lock`` in place and refuses one that was half-written: ``nand repro`` then has to mend it. And it
    takes a dead process that nobody has waited for to be at work: here that is done at once, as a good init does.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    row = Row("kill -9 of whole pipelines")
    project, expected, whole = _prepared(bench)
    server, kills = bench.project.environment["PREFECT_API_URL"], dict[str, int]()
    slowest, mended = 0.0, 0
    while sum(kills.values()) < times:
        _make_work(project, bench.random)
        for _ in range(min(ROUND, times - sum(kills.values()))):
            killed = _killed(project, bench.random, whole, server, row)
            kills[killed] = kills.get(killed, 0) + 1
        command = bench.random.choice((REPRO, DVC_REPRO))
        if command == DVC_REPRO:  # it does not wait for a run of which a part alone was killed, as nand does
            row.judge("a run of which a part was killed hangs", _alone(project.folder, PATIENCE))
        if command == DVC_REPRO and _half_written(project.folder / "dvc.lock"):
            said = _ended(project, project.start(*DVC_REPRO))
            row.judge("dvc went on from half a dvc.lock", bool(said))
            command, mended = REPRO, mended + 1
        began = time.monotonic()
        said = _ended(project, project.start(*command))
        slowest = max(slowest, time.monotonic() - began)
        found, wanted = _content(project.folder), expected[project.params["encoder"]["adapt"]["steps"]]
        differ = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        row.judge(f"{command[2]} after {ROUND} kills: {', '.join(differ)}: {said[-2000:]}", not said and not differ)
        print(f"{sum(kills.values())} kills", *row.notes, sep="\n  ", flush=True)
    row.notes.append(", ".join(f"{what} {count}" for what, count in sorted(kills.items())))
    row.notes.append(f"half a dvc.lock, which dvc refused and nand repro mended: {mended}")
    row.notes.append(f"undisturbed {whole:.0f} s, slowest run to the end {slowest:.0f} s")
    yield row


def _prepared(bench: Bench) -> tuple[Scratch, dict[int, dict[str, str]], float]:
    """A project with a normality shown by an image, the right files for each of its settings, and the time of a run."""
    environment = dict(bench.project.environment)
    project = Scratch(bench.project.folder.parent / "pipelines", copy.deepcopy(EVERY_STAGE), environment)
    project.create()
    succeeded(project.repro())
    succeeded(project.call(sys.executable, "-m", "nand", "add", "carpet", "worn", *SHOWN))
    project.params = YAML(typ="safe").load((project.folder / "params.yaml").read_text(encoding="utf-8"))
    expected, whole = {}, 0.0
    for steps in (5, 4):
        project.params["encoder"]["adapt"]["steps"] = steps
        _drop(project)
        began = time.monotonic()
        succeeded(project.repro())
        expected[steps], whole = _content(project.folder), time.monotonic() - began
    return project, expected, whole


def _make_work(project: Scratch, chance: random.Random) -> None:
    """Other settings, or nothing left of what was computed, or both."""
    what = chance.choice(("settings", "nothing left", "both"))
    if what != "nothing left":
        project.params["encoder"]["adapt"]["steps"] ^= 1  # 4, 5
    if what != "settings":
        _drop(project)


def _drop(project: Scratch) -> None:
    """Remove all that was computed; the examples, which ``nand add`` has copied, stay."""
    kept = project.folder / "artifacts/examples"
    for path in (*(project.folder / "artifacts").iterdir(), *(project.folder / "results").iterdir()):
        if path != kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in (".nand/store", ".dvc/cache"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    (project.folder / "dvc.lock").unlink(missing_ok=True)


def _content(folder: Path) -> dict[str, str]:
    """sha256 of every file among artifacts and results, and of dvc.lock."""
    files = [path for top in ("artifacts", "results") for path in (folder / top).rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*files, folder / "dvc.lock")
        if path.exists()
    }


def _half_written(lock: Path) -> bool:
    try:
        return lock.exists() and not isinstance(YAML(typ="safe").load(lock.read_text(encoding="utf-8")), dict)
    except YAMLError:
        return True


def _killed(project: Scratch, chance: random.Random, whole: float, server: str, row: Row) -> str:
    """Start a run and kill it, or one of its processes, at some moment; what was killed."""
    if chance.random() < 0.7:
        project.environment["PREFECT_API_URL"] = server
    else:  # one of its own
        project.environment.pop("PREFECT_API_URL", None)
    process = project.start(*chance.choice((REPRO, DVC_REPRO)))
    time.sleep(chance.uniform(0.2, min(whole, LATEST)))
    tree = _tree(process)
    there = {name: found for name, is_one in VICTIMS.items() if (found := _those(tree, is_one))}
    name = chance.choice(["all", "all", *there])
    killed = tree if name == "all" else [chance.choice(there[name])]
    for one in killed:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    if chance.random() < 0.5:  # otherwise the next run comes upon it
        said = _ended(project, process, may_fail=True)
        row.judge(f"{name} killed: {said}", not said)
    else:
        process.stdout.close()
        psutil.wait_procs(killed, timeout=REAPED)
        _bury()
    return name


def _bury() -> None:
    """Wait for the dead."""
    for one in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if one.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(one.pid, os.WNOHANG)


def _tree(process: subprocess.Popen) -> Tree:
    try:
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _those(tree: Tree, is_one: Callable[[str], bool]) -> Tree:
    found = []
    for one in tree:
        with suppress(psutil.Error):
            if is_one(" ".join(one.cmdline()) + " "):
                found.append(one)
    return found


def _ended(project: Scratch, process: subprocess.Popen, *, may_fail: bool = False) -> str:
    """Wait for a run's end, and for that of all it has started; "" or what is wrong."""
    try:
        output = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        left = [" ".join(one.cmdline()) for one in _left(project.folder)]
        for one in _left(project.folder):
            one.kill()
        return f"hangs: {left}"
    if not _alone(project.folder, END):
        return f"left at work: {_commands(_left(project.folder))}"
    return output if process.returncode and not may_fail else ""


def _alone(folder: Path, patience: float) -> bool:
    """Whether nothing is at work in a folder within so many seconds."""
    until = time.monotonic() + patience
    while (left := _left(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    _bury()
    return not left


def _commands(processes: Sequence[psutil.Process]) -> list[str]:
    said = []
    for one in processes:
        with suppress(psutil.Error):
            said.append(" ".join(one.cmdline()))
    return said


def _left(folder: Path) -> Tree:
    """Processes at work in a folder."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(one.cwd()).is_relative_to(folder) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found
