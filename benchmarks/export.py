"""``python -m benchmarks.export``: an exported model beside the judge in torch that it was traced from, on the CPU.

Wood of the demo with a text and five examples, by each detector. Image by image in turn, so that other work on the
machine is seen by both, with as many threads each. That scores are the same is checked first.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime
import torch
from PIL import Image

from benchmarks.scratch import PARAMS, Scratch
from flows.inspection import Judges
from nand.export.model import export
from nand.page.direct import Direct
from nand_core.config import load_params
from nand_core.datasets.demo.photograph import Subject, draw
from nand_core.datasets.images import read_image
from nand_core.report.tables import markdown_table
from nand_runtime import Inspector

CLASS = "wood"
DETECTORS: dict[str, dict[str, Any]] = {
    "april_gan": {"kind": "april_gan"},
    "patchcore": {"kind": "patchcore", "layers": [2, 4]},
    "subspace": {"kind": "subspace", "layers": [2, 4]},
}


def project(folder: Path) -> Scratch:
    """With its results."""
    params = copy.deepcopy(PARAMS) | {"detectors": DETECTORS}
    params["dataset"] |= {"classes": [CLASS], "demo": {"train_good": 20, "test_good": 8, "per_type": 6}}
    made = Scratch(folder, params)
    shown = made.folder / "artifacts/examples" / CLASS
    shown.mkdir(parents=True)
    names = []
    for number in range(5):
        path = shown / "new.png"
        Image.fromarray(draw(Subject(CLASS, "test", "color", number), 0, 128).image).save(path)
        names.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}-color{number}.png")
        path.rename(shown / names[-1])
    made.params["prompts"] = {"normalities": {CLASS: ["scratch", {"stain": {"like": names}}]}}
    made.create()
    said = made.repro()
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]
    return made


def compared(detector: str, folder: Path, threads: int, rounds: int) -> list[str]:
    """A row of the table: milliseconds of both, and how many times as fast the exported model is."""
    run = Direct.of(load_params(Path("params.yaml")))
    judge = Judges(run, detector).of(CLASS)
    made = export(CLASS, detector, folder / f"{detector}.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    inspector = Inspector(folder / f"{detector}.onnx", sess_options=options)
    tests = run.manifest[(run.manifest["class"] == CLASS) & (run.manifest["split"] == "test")]
    images = [read_image(run.work.root / path) for path in tests["path"]]
    for image in images:
        (verdict,), found = judge(["image"], [image]), inspector(image)
        assert abs(verdict.score_after - found.score_after) <= 1e-4 * verdict.score_before
    programs: dict[str, Callable[[Any], object]] = {"torch": lambda one: judge(["image"], [one]), "onnx": inspector}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for image in images:
            for name, program in programs.items():
                began = time.perf_counter()
                program(image)
                seconds[name].append(time.perf_counter() - began)
    ratios = [one / other for one, other in zip(seconds["torch"], seconds["onnx"], strict=True)]
    figures = (f"{1000 * function(found):.0f}" for found in seconds.values() for function in (min, median))
    return [detector, *figures, f"{median(ratios):.2f}", f"{made.size / 1e6:.0f}", f"{made.difference:.1e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=2, help="times that all test images are judged")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, chdir(project(Path(folder) / "project").folder):
        rows = [compared(name, Path(folder), arguments.threads, arguments.rounds) for name in DETECTORS]
    columns = ["", "torch, best ms", "median", "onnx, best ms", "median", "times as fast", "MB", "difference"]
    print(markdown_table(columns, rows, text_columns=1))


if __name__ == "__main__":
    main()
