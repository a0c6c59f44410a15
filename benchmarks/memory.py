"""Peak memory and time per image as the data grows: ``python -m benchmarks.memory [--images N]``.

Every stage runs as its own process over N test images and over ten times as many. Exit status 1 if a stage's peak
memory grew to more than 1.15 times, or its time per image by more than 10 %. (Fitting PatchCore holds the training
images' patches, at most ``patches`` of them: their number is the same in both runs.)
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.scratch import PARAMS, Scratch
from flows.local_server import local_server
from flows.server import wait_for_server

STAGES = (
    ("demo_data",),
    ("dataset",),
    ("prompts",),
    ("text_features",),
    ("base_maps", "april_gan"),
    ("base_maps", "patchcore"),
    ("suppression",),
    ("evaluate",),
    ("report",),
)
GROUPS = 4


def measure(project: Scratch, stage: tuple[str, ...]) -> tuple[float, float]:
    """Peak resident memory in MiB and seconds of one stage."""
    started = time.monotonic()
    with (project.folder / "said.log").open("w+") as said:
        command = [sys.executable, "-m", "flows", *stage]
        process = subprocess.Popen(
            command, cwd=project.folder, env=project.environment, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            raise RuntimeError(f"{' '.join(stage)} failed:\n{said.read()[-3000:]}")
    return used.ru_maxrss / 1024, time.monotonic() - started


def main() -> int:
    """Measure both sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50, help="test images of the smaller run")
    images = parser.parse_args().images
    found: dict[int, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="nand-memory-") as folder:
        for factor in (1, 10):
            project = Scratch(Path(folder) / str(factor), copy.deepcopy(PARAMS))
            each = images * factor // (GROUPS + 1)
            project.params["run"] = {"shard": 8}  # the smaller run has whole shards too: they bound the memory
            project.params["dataset"]["demo"] = {"train_good": 20, "test_good": each, "per_type": each}
            project.create()
            with local_server(project.folder / ".nand/prefect", project.environment) as url:
                wait_for_server(url)
                project.environment["PREFECT_API_URL"] = url
                found[factor] = {" ".join(stage): measure(project, stage) for stage in STAGES}
    table = Table(title=f"{images} test images against {10 * images}")
    for name in ("stage", "peak MiB", "ten times", "ratio", "seconds", "ten times ", "time per image, ratio"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    over = []
    for stage, (memory, seconds) in found[1].items():
        memory10, seconds10 = found[10][stage]
        ratios = memory10 / memory, seconds10 / 10 / seconds
        over += [stage] * (ratios[0] > 1.15 or ratios[1] > 1.1)
        table.add_row(
            stage,
            *(f"{memory:.0f}", f"{memory10:.0f}", f"{ratios[0]:.2f}"),
            *(f"{seconds:.1f}", f"{seconds10:.1f}", f"{ratios[1]:.2f}"),
        )
    Console(width=120).print(table)
    print(f"over the bound: {', '.join(over) or 'no stage'}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
