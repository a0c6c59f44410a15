"""``python -m benchmarks.peers.measure``: the rows one after the other, in the environment that has the peers.

Results are checked before anything is timed. A row that fails says so, the rest goes on, and the exit status is 1. A
missed aim is no failure: it stands in the table. With all rows at their full size it writes ``benchmarks/peers.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.peers.pairs import Measured, Rows, Size, described, measured
from nand_core.report.tables import markdown_table

ROWS = (
    "neighbours", "patchcore", "winclip", "suppression", "subspace", "inspection", "change", "items", "coreset",
)  # fmt: skip
WRITTEN = Path(__file__).parents[1] / "peers.md"
COLUMNS = ["what", "beside", "unit", "ours", "theirs", "ratio of minima", "median ratio", "aim", "met", "results"]
PACKAGES = ("torch", "anomalib", "faiss-cpu", "open_clip_torch", "timm", "numpy", "prefect", "dvc")


def run(names: Sequence[str], size: Size) -> tuple[list[Measured], list[str]]:
    """The rows' figures, and a line for each that failed."""
    found, failed = [], []
    for name in names:
        try:
            # Imported here: one without its peer does not keep the others from running.
            pairs: Rows = import_module(f"benchmarks.peers.rows.{name}").pairs
            for pair in pairs(size):
                found.append(measured(pair, size))
                print("\t".join(cells(found[-1])), flush=True)
        except Exception as error:
            traceback.print_exc()
            failed.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
            print(f"FAILED {failed[-1]}", flush=True)
    return found, failed


def cells(one: Measured) -> list[str]:
    """A row of the table."""
    aim = "" if one.pair.aim is None else f"≤ {one.pair.aim:.2g}"
    met = {None: "", True: "yes", False: "no"}[one.met]
    figures = [described(one.ours), described(one.theirs), f"{one.least:.2f}", f"{one.middle:.2f}"]
    return [one.pair.name, one.pair.against, one.pair.unit, *figures, aim, met, one.equal]


def how(size: Size) -> str:
    """What the figures were taken with; nothing of the machine but what changes them."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not there")
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        f"{os.cpu_count()} cores ({platform.machine()}, {capability}), {size.threads} threads for each side, fp32 "
        f"where nothing else is said, Python {platform.python_version()}, {', '.join(versions)}."
    )


def page(found: Sequence[Measured], failed: Sequence[str], size: Size) -> str:
    """``benchmarks/peers.md``."""
    text = [
        "# NAND beside its peers",
        "Written by `make bench` (`python -m benchmarks.peers`). " + how(size),
        "Both sides of a row run in turn (A B, B A, ...), after their results were found equal as the last column "
        "says. Figures are minimum / median / 95th percentile. A ratio is ours over theirs, below 1 is less; the aim "
        "is one for the median of the rounds' ratios.",
        markdown_table(COLUMNS, [cells(one) for one in found], text_columns=3),
        "anomalib's coreset makes 20 MB anew for each of its choices: where they come from the system, as here, that "
        "is 10 million page faults; with glibc's own settings the same call took 1.6 s, 16 s, or more memory than "
        "there is.",
        "## Where the time of a missed aim goes",
        "Ours, one call more under torch's profiler: operators by the time that each takes itself.",
        markdown_table(
            ["what", "beside", "operators"],
            [[one.pair.name, one.pair.against, one.where] for one in found if one.where],
            text_columns=3,
        ),
        *(f"Failed: {line}" for line in failed),
    ]
    return "\n\n".join(text) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a row failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="small data: it works, the figures say nothing")
    parser.add_argument("--seconds", type=float, default=Size.seconds, help="of the timed rounds of a pair, about")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    size = Size(given.quick, given.seconds, given.threads)
    torch.set_num_threads(size.threads)
    found, failed = run(given.rows, size)
    text = page(found, failed, size)
    print(f"\n{text}")
    if not given.quick and set(given.rows) == set(ROWS):
        WRITTEN.write_text(text, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
