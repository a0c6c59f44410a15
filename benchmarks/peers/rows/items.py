"""What an item costs that computes nothing: the pipeline's beside Prefect's bare task and beside DVC's stage."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from pathlib import Path

from benchmarks.noop import floor
from benchmarks.noop import seconds as command_seconds
from benchmarks.peers.pairs import Pair, Size
from benchmarks.scratch import ROOT, offline_environment
from flows.local_server import local_server

EXECUTED, CACHED = 0, 1
ROUNDS = 3


def pairs(size: Size) -> Iterator[Pair]:
    """Executed and cached, by number of items; a straight line has the same cost an item whatever their number."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with local_server(home / "server", offline_environment()) as url:
            taken = cache(lambda side, count, turn: _figures(home / f"{side}{count}-{turn}", url, side, count))

            def series(side: str, count: int, number: int) -> Callable[[], float]:
                """Executed or cached, of one run after the other."""
                turns = cycle(range(ROUNDS))
                return lambda: taken(side, count, next(turns))[number]

            counts = (5, 10) if size.quick else (50, 400, 2000)
            for count in counts:
                for number, how in ((EXECUTED, "executed"), (CACHED, "cached")):
                    sides = series("ours", count, number), series("prefect", count, number)
                    yield _pair(f"{count} items, {how}", "Prefect's bare tasks", *sides, None)
            few, many = counts[-2:]
            for number, how in ((EXECUTED, "executed"), (CACHED, "cached")):
                sides = series("ours", many, number), series("ours", few, number)
                yield _pair(f"{many} items, {how}", f"ours of {few}", *sides, 1.15)
        stages = counts[0]
        project = home / "dvc"
        project.mkdir()
        floor(project, stages)
        yield _pair(
            f"{stages} items, cached",
            f"dvc repro of {stages} stages of nothing, cached",
            series("ours", stages, CACHED),
            lambda: 1000 * command_seconds([sys.executable, "-m", "dvc", "repro"], project) / stages,
            None,
        )


def _pair(name, against, ours, theirs, aim) -> Pair:
    # What is measured is what each run says itself.
    return Pair(
        name, against, ours, theirs, lambda *_: "counted", aim, lambda run: run(), "ms an item", rounds=ROUNDS
    )


def _figures(folder: Path, url: str, side: str, count: int) -> tuple[float, ...]:
    """Milliseconds an item of a process of its own, in an empty folder."""
    folder.mkdir()
    environment = offline_environment() | {
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "benchmarks.peers.nothing", side, str(count), url]
    said = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return tuple(float(figure) for figure in said.stdout.split()[-2:])
