"""What is done to a store alone: power that fails, calls that fail, processes that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cache_faults.power import CONTENT, FAULTS, REMOVED, SETTINGS, call_failed, faults, power_lost, recorded
from benchmarks.cache_faults.power import work as work_on
from benchmarks.cache_faults.trials import Bench, Row

AT_WORK = "import pathlib, sys; from benchmarks.cache_faults.power import work; work(pathlib.Path(sys.argv[1]))"


def power(bench: Bench, times: int) -> Iterator[Row]:
    """No power from any step on: what was not synced is there, torn, or not, in any order."""
    row = Row("no power")
    folder = bench.project.folder.parent / "power"
    folder.mkdir()
    disk, promises = recorded(folder)
    for trial in range(times):
        done = trial % (len(disk.steps) + 1)
        wrong = power_lost(disk, promises, done, bench.random, folder / "after")
        row.judge(f"after {done} steps: {'; '.join(wrong)}", not wrong)
    row.notes.append(f"{len(disk.steps)} steps")
    yield row


def calls(bench: Bench, times: int) -> Iterator[Row]:
    """An I/O error, a full disk or no memory at every n-th call of the disk, n being ``times``."""
    row = Row("a call fails")
    for fault in FAULTS:
        number, reached = 0, True
        while reached:
            reached, wrong = call_failed(number, fault, bench.project.folder.parent / "calls")
            row.judge(f"{type(fault()).__name__} at call {number}: {'; '.join(wrong)}", not wrong)
            number += times
    yield row


def killed(bench: Bench, times: int) -> Iterator[Row]:
    """kill -9 of one or two processes at work on a store, at a random moment; then one goes on."""
    row = Row("kill -9 at work on a store")
    for trial in range(times):
        folder = bench.project.folder.parent / f"killed {trial}"
        folder.mkdir()
        moment = killed_at(folder, bench.random)
        wrong = faults(folder, {})
        started = time.monotonic()
        work_on(folder)
        wrong += faults(folder, {**CONTENT, "params.yaml": SETTINGS[-1], REMOVED: b""})
        wrong += ["hangs"] * (time.monotonic() - started > 60)
        row.judge(f"killed at {moment:.2f} s: {'; '.join(wrong)}", not wrong)
    yield row


def killed_at(folder: Path, chance: random.Random) -> float:
    """Start processes on a folder and kill them once they have begun; after how many seconds."""
    started = [subprocess.Popen([sys.executable, "-c", AT_WORK, str(folder)]) for _ in range(chance.choice((1, 2)))]
    began = time.monotonic()
    while not (folder / "store").exists() and any(one.poll() is None for one in started):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.3))
    for one in started:
        one.kill()
        one.wait()
    return time.monotonic() - began
