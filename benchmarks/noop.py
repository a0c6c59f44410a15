"""``python -m benchmarks.noop PROJECT [--runs N]``: what it takes to see that nothing is to do.

Interleaved, each in whole processes: ``nand repro`` and a bare ``dvc repro`` in a computed project, and ``dvc repro``
in a project of nothing but DVC with as many stages and one that always runs. Prints seconds and ratios to that floor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from nand.project.stages import declared_stages

BAR = 2.5
DVC = [sys.executable, "-m", "dvc"]


def floor(folder: Path, stages: int) -> None:
    """A project of ``stages`` stages that write a file each, and one that always runs."""
    made = {f"stage{i}": {"cmd": f"echo {i} > {i}.txt", "outs": [f"{i}.txt"]} for i in range(stages)}
    always = {"cmd": f"{sys.executable} -c pass", "always_changed": True}
    with (folder / "dvc.yaml").open("w") as file:
        YAML(typ="safe").dump({"stages": {"always": always, **made}}, file)
    for command in (["git", "init", "--quiet"], [*DVC, "init", "--quiet"], [*DVC, "repro", "--quiet"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def seconds(command: Sequence[str], folder: Path) -> float:
    """Wall time of a command that has to succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    os.chdir(given.project)
    stages = len(declared_stages())
    with tempfile.TemporaryDirectory() as scratch:
        floor(Path(scratch), stages)
        project = Path.cwd()
        rows = {
            "floor": ([*DVC, "repro"], Path(scratch)),
            "nand repro": ([sys.executable, "-m", "nand", "repro"], project),
            "dvc repro": ([*DVC, "repro"], project),
        }
        for command, folder in rows.values():  # once unmeasured: files come into the system's cache
            seconds(command, folder)
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(given.runs):
            for name, (command, folder) in rows.items():
                times[name].append(seconds(command, folder))
    print(f"{stages} stages and one that always runs, {given.runs} runs each, interleaved; seconds")
    print("| what | minimum | median | ratio of medians to the floor |")
    print("|---|---:|---:|---:|")
    least = statistics.median(times["floor"])
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"| {name} | {min(found):.2f} | {middle:.2f} | {middle / least:.2f} |")
    print(f"bar for nand repro: {BAR}")


if __name__ == "__main__":
    main()
