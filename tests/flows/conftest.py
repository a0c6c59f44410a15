"""A temporary git and DVC repository in which the real pipeline runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from pipeline_project import PARAMS, PHRASED, Project, State

from flows.local_server import local_server
from flows.server import wait_for_server


@pytest.fixture(scope="session", autouse=True)
def database(prefect_database: Path) -> None:
    """Every project here has it."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"), json.loads(json.dumps(PARAMS)))
    made.create()
    return made


@pytest.fixture(scope="module")
def first(project: Project) -> State:
    """A run from nothing, with a server of its own."""
    return project.run()


@pytest.fixture(scope="module")
def status_after_first(project: Project, first: State) -> str:
    status = project.git("status", "--porcelain")
    project.git("add", "dvc.lock")
    project.git("commit", "--quiet", "--message", "results")
    return status


@pytest.fixture(scope="module")
def server(project: Project, first: State, status_after_first: str) -> Iterator[str]:
    """One server for all runs but the first."""
    with local_server(project.folder / ".nand/prefect", project.environment) as url:
        wait_for_server(url)
        project.environment["PREFECT_API_URL"] = url
        yield url
        del project.environment["PREFECT_API_URL"]


@pytest.fixture(scope="module")
def unchanged(project: Project, server: str) -> State:
    """The same again."""
    return project.run()


@pytest.fixture(scope="module")
def phrased(project: Project, unchanged: State) -> State:
    """Other phrases for one group."""
    class_name, group = PHRASED
    phrases = ["loose thread on carpet", "a zorkly scratch on carpet"]
    project.params["prompts"]["explicit"] = {class_name: {group: phrases}}
    return project.run()


@pytest.fixture(scope="module")
def looks(project: Project, phrased: State) -> dict[str, subprocess.CompletedProcess]:
    """DVC's ways to look at the results while they differ from the commit's."""
    commands = ("metrics show", "metrics diff", "plots show")
    return {command: project.dvc(*command.split()) for command in commands}


@pytest.fixture(scope="module")
def restored(project: Project, first: State, phrased: State, looks: dict) -> State:
    """The first settings again, with outs gone or spoiled and the store's objects behind them flipped or gone."""
    project.params = json.loads(json.dumps(PARAMS))
    flipped, gone = "artifacts/suppression/wood/scratch.npz", "artifacts/base_maps/patchcore/wood.npz"
    stored = project.stored(flipped)
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(content)
    (project.folder / flipped).unlink()
    project.stored(gone).unlink()
    (project.folder / gone).write_bytes(b"spoiled")
    (project.folder / "results/auroc.parquet").unlink()
    return project.run()


@pytest.fixture(scope="module")
def mirrored(project: Project, restored: State) -> State:
    """One test image of wood mirrored."""
    path = min((project.folder / "data/demo/wood/test/good").iterdir())
    before = path.read_bytes()
    with Image.open(path) as image:
        ImageOps.mirror(image).save(path)
    assert path.read_bytes() != before
    return project.run()


@pytest.fixture(scope="module")
def without_strength(project: Project, mirrored: State) -> State:
    """No suppression."""
    project.params["evaluation"]["alpha"] = 0
    return project.run()


@pytest.fixture
def mistaken(project: Project, without_strength: State) -> Iterator[Project]:
    """The project for a run that has to fail; its settings and its data are as before afterwards."""
    project.params = json.loads(json.dumps(PARAMS))
    yield project
    project.params = json.loads(json.dumps(PARAMS))
