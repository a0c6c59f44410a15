"""Threads, Dask and Ray: the same bytes, and a clear word where one is missing."""

from __future__ import annotations

import copy
import multiprocessing
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.scratch import PARAMS, Scratch, executed
from flows.local_server import local_server
from flows.runners import task_runner
from flows.server import wait_for_server
from nand_core.artifacts.store import Store
from nand_core.config import Params
from nand_core.errors import NandError
from nand_core.settings import RunSettings
from tasks.work import Work


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    folder = tmp_path_factory.mktemp("runners")
    scratch = Scratch(folder / "project", copy.deepcopy(PARAMS))
    scratch.create()
    with local_server(scratch.folder / ".nand/prefect", scratch.environment) as url:
        wait_for_server(url)
        scratch.environment["PREFECT_API_URL"] = url
        yield scratch


def test_every_runner_gives_the_same_bytes(project: Scratch) -> None:
    said = project.pipeline()
    assert said.returncode == 0, said.stdout + said.stderr
    expected = project.digests()
    for runner in ("dask", "ray"):
        pytest.importorskip(f"prefect_{runner}", reason=f"the extra {runner!r} is not installed")
        project.params["run"] = {"runner": runner, "workers": 2}
        project.write_params()
        for folder in (".nand/store", "artifacts/suppression"):
            shutil.rmtree(project.folder / folder)
        said = project.call(sys.executable, "-m", "flows", "suppression")
        assert said.returncode == 0, said.stdout + said.stderr
        assert executed(said.stdout + said.stderr)["suppression"] == 5
        assert project.digests() == expected
    project.params["run"] = {"runner": "threads"}
    project.write_params()
    said = project.call(sys.executable, "-m", "flows", "suppression")
    assert executed(said.stdout + said.stderr) == {}  # what one runner cached, another takes


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_runner_that_is_not_installed_is_named(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"prefect_{runner}", None)
    with pytest.raises(NandError, match=rf"run\.runner: {runner} is not installed .*nand\[{runner}\]"):
        task_runner(RunSettings(runner=runner))


def test_a_process_keeps_one_loaded_encoder_for_all_items(tmp_path: Path) -> None:
    params = Params.model_validate({**PARAMS, "encoder": {"device": "cpu"}})
    work = Work(params, Path(params.dataset.root), Store(root=tmp_path))
    here, there = multiprocessing.Pipe()  # as between a runner's processes
    first, second = (here.send(work) or there.recv() for _ in range(2))
    assert first is second and first.params == params and first.store == work.store
