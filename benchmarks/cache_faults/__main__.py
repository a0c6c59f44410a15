"""Faults against the cache: ``python -m benchmarks.cache_faults [--scale full|short] [--seed N] [--only NAME ...]``.

A small demo pipeline is changed, killed, damaged and run several times at once. After every trial its artifacts and
results must be, byte for byte, those of a clean run of the same settings, code and data; items that were finished must
not be computed again. Exit status 1 if any result was wrong; the last line is the summary.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cache_faults.scenarios import SCENARIOS
from benchmarks.cache_faults.trials import Bench
from benchmarks.scratch import PARAMS, seed_database
from flows.local_server import local_server
from flows.server import wait_for_server


@contextmanager
def served(bench: Bench) -> Iterator[None]:
    """One Prefect server for all runs."""
    home = bench.project.folder.parent / "prefect"
    seed_database(home)
    with local_server(home, bench.project.environment) as url:
        wait_for_server(url)
        for scratch in (bench.project, bench.clean):
            scratch.environment["PREFECT_API_URL"] = url
        yield


def main() -> int:
    """Run the scenarios in a random order and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=("full", "short"), default="short")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(SCENARIOS), default=list(SCENARIOS))
    chosen = parser.parse_args()
    console = Console(width=120)
    table = Table(title="Faults against the cache")
    for name in ("scenario", "tried", "wrong", "executed", "least", "notes"):
        table.add_column(name, justify="left" if name in ("scenario", "notes") else "right")
    tried = wrong = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nand-faults-") as folder:
        bench = Bench(Path(folder), chosen.seed)
        with served(bench):
            order = list(chosen.only)
            bench.random.shuffle(order)
            for name in order:
                scenario, full, short = SCENARIOS[name]
                bench.project.params = copy.deepcopy(PARAMS)
                for row in scenario(bench, full if chosen.scale == "full" else short):
                    print(f"{row.scenario}: {row.wrong} wrong of {row.tried}", *row.notes, sep="\n  ", flush=True)
                    cells = (row.tried, row.wrong, row.executed, row.least)
                    table.add_row(row.scenario, *map(str, cells), "; ".join(row.notes[:4]))
                    tried, wrong = tried + row.tried, wrong + row.wrong
    console.print(table)
    print(f"{wrong} wrong of {tried} trials, {time.monotonic() - started:.0f} s, seed {chosen.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.pop("PREFECT_API_URL", None)
    sys.exit(main())
