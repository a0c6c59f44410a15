"""``kill -9`` of ``nand`` alone, in a DVC project whose one stage sleeps: nothing outlives it, nothing is locked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from http_server import answering, prefect

from benchmarks.scratch import offline_environment

REPRO = (sys.executable, "-m", "nand", "repro")
# Not the stages of NAND, which would take a minute: what matters is who is whose child. The shell stays between.
STAGE = """
import os, pathlib, time
print("at work", flush=True)
time.sleep(0 if pathlib.Path("quick").exists() else 600)
pathlib.Path("results").mkdir(exist_ok=True)
pathlib.Path("results/out").write_text("done")
"""
PIPELINE = """
stages:
  sleep:
    cmd: {python} stage.py; true
    outs: [results/out]
"""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with answering(prefect) as url:
        yield offline_environment() | {"PREFECT_API_URL": f"{url}/api"}


@pytest.fixture
def folder(tmp_path: Path, environment) -> Path:
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (tmp_path / "params.yaml").write_text(
        "dataset: {kind: demo, root: data/demo}\ndetectors: {april_gan: {kind: april_gan}}\n"
    )
    init = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
    subprocess.run(init, cwd=tmp_path, env=environment, check=True)
    return tmp_path


def test_nothing_outlives_nand_and_the_next_run_goes_on(folder: Path, environment) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(REPRO, cwd=folder, env=environment, **pipes) as nand:
        said = list(iter(nand.stdout.readline, "at work\n"))
        below = psutil.Process(nand.pid).children(recursive=True)
        assert any("stage.py" in one.cmdline() for one in below), said
        nand.kill()
        _, alive = psutil.wait_procs(below, timeout=60)
        assert not alive
    assert (folder / ".dvc/tmp/rwlock").exists(), "what dvc had claimed"
    (folder / "quick").touch()
    said = subprocess.run(REPRO, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "busy" not in said.stdout + said.stderr
    assert (folder / "results/out").read_text() == "done", said.stderr
    assert said.returncode == 0 and "no results yet" in said.stdout, "one stage made no results to be shown"
