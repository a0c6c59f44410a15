"""What a bare ``dvc repro`` starts after each of five touches, and whether it leaves what a clean run leaves.

``python -m benchmarks.touches``: saved maps that were swapped, a plugin's version raised, a weights file replaced, a
comment in the report's code, another version of a library; one after the other in one project. Ends with 1 where other
stages start than those that are touched, or a file differs from that of a run from nothing.
"""

from __future__ import annotations

import copy
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.scratch import ROOT, Scratch, offline_environment

sys.path.append(str(ROOT / "tests/flows"))
import test_external_pipeline as pipeline  # the tests' own plugin, saved maps and names of stages

AFTER = "evaluate", "report"
"""Stages that read what a detector's stage leaves, where that is another thing."""


def _maps(project: Scratch, packages: Path) -> None:
    one, other = (project.folder / f"saved/wood/test/{name}" for name in ("good/000.npy", "scratch/000.npy"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _raise(packages: Path, name: str) -> None:
    path = packages / name / "METADATA"
    path.write_text(path.read_text().replace("Version: 1.0", "Version: 1.1"))


def _plugin(project: Scratch, packages: Path) -> None:
    _raise(packages, f"bright_detector-{pipeline.VERSION}.dist-info")


def _weights(project: Scratch, packages: Path) -> None:
    path = project.folder / "nand_core/vlm/embedded/linear.safetensors"
    save_file({name: 1.01 * tensor for name, tensor in load_file(path).items()}, path)


def _comment(project: Scratch, packages: Path) -> None:
    with (project.folder / "nand_core/report/tables.py").open("a") as file:
        file.write("# touched\n")


def _library(project: Scratch, packages: Path) -> None:
    _raise(packages, "torchvision-1.0.dist-info")


TOUCHES: dict[str, tuple[Callable[[Scratch, Path], None], set[str], set[str]]] = {
    "saved maps swapped": (_maps, {*pipeline.SAVED}, {*AFTER}),
    "a plugin's version": (_plugin, {*pipeline.BRIGHT}, set()),
    "weights replaced": (_weights, {*pipeline.ENCODING}, set()),
    "a comment in the report's code": (_comment, {"report"}, set()),
    "a library's version": (_library, {*pipeline.DETECTORS}, set()),
}
"""The touch, the stages that it touches, and those that start because the others leave something else."""


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        project, packages = _made(Path(folder))
        _succeeded(project)
        for name, (touch, touched, after) in TOUCHES.items():
            touch(project, packages)
            began = time.monotonic()
            started = _succeeded(project)
            seconds = time.monotonic() - began
            again, clean = _succeeded(project), _clean(project)
            found = project.digests()
            differ = sorted(path for path in found.keys() | clean.keys() if found.get(path) != clean.get(path))
            exact = set(started) == {"inputs", *touched, *after} and again == ["inputs"]
            wrong += not exact or bool(differ)
            print(f"{name}: {', '.join(started)} ({seconds:.0f} s); then {', '.join(again)}:", end=" ")
            print("as expected;" if exact else "NOT AS EXPECTED;", end=" ")
            print(
                f"OTHERS THAN A CLEAN RUN'S: {differ}" if differ else f"{len(found)} files as a clean run's", flush=True
            )
    return int(wrong > 0)


def _made(folder: Path) -> tuple[Scratch, Path]:
    """A project with a detector of the encoder, saved maps and a plugin, and the folder of its packages."""
    packages = folder / "packages"
    packages.mkdir()
    pipeline.install(packages)
    library = packages / "torchvision-1.0.dist-info"
    library.mkdir()
    (library / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 1.0\n")
    params = copy.deepcopy(pipeline.PARAMS)
    params["detectors"] = {
        "april_gan": {"kind": "april_gan"},
        "saved": {"kind": "external", "maps": "saved"},
        "bright": {"kind": "plugin", "name": "brightness", "options": {"weight": 2.0}},
    }
    path = f"{Path(sys.executable).parent}:{offline_environment()['PATH']}"
    project = Scratch(folder / "project", params, offline_environment() | {"PYTHONPATH": str(packages), "PATH": path})
    project.create()
    pipeline.save_maps(project.folder / "saved")
    return project, packages


def _succeeded(project: Scratch) -> list[str]:
    """``dvc repro``; the stages that it started."""
    said = project.dvc("repro")
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]
    return re.findall(r"Running stage '(.+)'", said.stdout)


def _clean(project: Scratch) -> dict[str, str]:
    """The files of a run from nothing with the same code and inputs."""
    kept = project.folder.with_name("kept")
    # Not what a process that runs beside is spoken to by: no file.
    shutil.copytree(project.folder, kept, symlinks=True, ignore=shutil.ignore_patterns("beside"))
    project.forget()
    try:
        _succeeded(project)
        return project.digests()
    finally:
        shutil.rmtree(project.folder)
        kept.rename(project.folder)


if __name__ == "__main__":
    sys.exit(main())
