"""A stage on a full or read-only disk: one line, nothing half-written, and the next run completes.

And one that meets ``nand cache prune``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pipeline_project import Project

from flows.local_server import local_server
from flows.server import wait_for_server
from nand_core.artifacts.store import Store

OUT = "artifacts/manifest.parquet"


@pytest.fixture(scope="module")
def ready(project: Project) -> Iterator[Project]:
    """A project with its images drawn and a server."""
    with local_server(project.folder / ".nand/prefect", project.environment) as url:
        wait_for_server(url)
        project.environment["PREFECT_API_URL"] = url
        completes(stage(project, "demo_data"))
        yield project


def stage(project: Project, name: str = "dataset") -> subprocess.CompletedProcess:
    return project.call(sys.executable, "-m", "flows", name)


def completes(said: subprocess.CompletedProcess) -> None:
    assert said.returncode == 0, said.stderr


def refused(said: subprocess.CompletedProcess) -> str:
    assert said.returncode == 1 and "Traceback" not in said.stdout + said.stderr, said.stderr
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("error:")]
    return line


@pytest.fixture
def outcome(ready: Project) -> dict[str, str]:
    """What the stage gives; then it is as if it had never run."""
    completes(stage(ready))
    found = ready.digests()
    assert list(found) == [OUT]
    (ready.folder / OUT).unlink()
    return found


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_store(ready, outcome, small_disk, fault):
    disk = small_disk(ready.folder / ".nand/store")
    (disk.folder / "locks").mkdir()
    filling = disk.fill() if fault == "full" else None
    disk.read_only(fault == "read-only")
    line = refused(stage(ready))
    assert line.startswith("error: .nand/store") and line.count("make room or change the rights") == 1
    assert ready.digests() == {}
    disk.read_only(False)
    assert [p for p in disk.folder.rglob("*") if p.is_file() and p.stat().st_size] == ([filling] if filling else [])
    if filling:
        filling.unlink()
    completes(stage(ready))
    assert ready.digests() == outcome


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_out_folder(ready, outcome, small_disk, fault):
    disk = small_disk(ready.folder / "artifacts")
    filling = disk.fill() if fault == "full" else None
    disk.read_only(fault == "read-only")
    assert refused(stage(ready)).startswith("error: artifacts: ")
    disk.read_only(False)
    if filling:
        filling.unlink()
    assert ready.digests() == {}
    completes(stage(ready))
    assert ready.digests() == outcome, "an out folder on another device than the store"


def test_a_stage_waits_for_a_prune(ready, outcome):
    with Store(root=ready.folder / ".nand/store").hold(alone=True):
        process = ready.start(sys.executable, "-m", "flows", "dataset")
        assert any("waiting for the end of 'nand cache prune'" in line for line in process.stdout)
        assert process.poll() is None and ready.digests() == {}
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert ready.digests() == outcome


@pytest.mark.parametrize("command", [("nand", "repro"), ("flows", "dataset")], ids=["nand", "stage"])
def test_the_state_folder(ready, small_disk, command):
    """Nothing starts, neither dvc nor a server."""
    disk = small_disk(ready.folder / ".nand", "80m")
    disk.fill(left=4096)
    start = (sys.executable, "-m", *command)
    said = ready.call(*start)
    assert refused(said).startswith("error: .nand: 0 MB are free") and said.stdout == ""
    (disk.folder / "filling").unlink()
    disk.read_only()
    said = ready.call(*start)
    assert refused(said).startswith("error: .nand: Read-only file system; ") and said.stdout == ""
