"""The warm process: what is asked of it runs as a process of who asks, and what has changed does not run in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from http_server import answering, prefect

from benchmarks.scratch import PACKAGES, ROOT
from flows.record import WRITTEN
from flows.warm import VARIABLE, handed_over, warm_process

# A stage in place of one that needs a project.
STAGE = """
def main(arguments):
    import time
    try:
        print(os.getpid(), flush=True)
        if arguments[1:] == ["wait"]:
            time.sleep(600)
    except KeyboardInterrupt:
        print("stopped")
        return 130
    print(arguments, sys.stdin.read())
    print(os.environ.get("OTHER"), file=sys.stderr)
    return 7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code, with another ``main`` of the stages."""
    made = tmp_path_factory.mktemp("warm")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = made / "flows/__main__.py"
    text = path.read_text()
    path.write_text(text.replace('if __name__ == "__main__":', f'{STAGE}\nif __name__ == "__main__":'))
    return made


@pytest.fixture(scope="module")
def environment(folder: Path) -> Iterator[dict[str, str]]:
    """That of stages, with a warm process."""
    own = {**os.environ, "PYTHONPATH": str(folder)}
    with answering(prefect) as server, pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        with warm_process(Path("socket"), Path("home"), own | {"PREFECT_API_URL": f"{server}/api"}) as found:
            yield found
        assert not Path("socket").exists() and not Path("home").exists()


def asked(environment: dict[str, str], *arguments: str) -> tuple[subprocess.Popen, int]:
    """``python -m flows dataset``, as the dvc of ``nand repro`` runs it, and the process that the stage runs in."""
    command = [sys.executable, "-m", "flows", "dataset", *arguments]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, env={**environment, "DVC_ROOT": ".", WRITTEN: "this run"}, text=True, **pipes)
    return process, int(process.stdout.readline())


def test_without_one_a_stage_is_not_handed_over(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert handed_over(["dataset"]) is None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    assert handed_over(["dataset"]) is None


def test_a_stage_has_the_streams_the_status_and_the_signals_of_who_asked(environment):
    process, stage = asked(environment)
    assert process.communicate("typed") == ("['dataset'] typed\n", "None\n")
    assert process.returncode == 7 and stage != process.pid
    process, stage = asked(environment, "wait")
    process.send_signal(signal.SIGINT)
    assert process.communicate()[0] == "stopped\n" and process.returncode == 130
    process, stage = asked(environment, "wait")
    os.kill(stage, signal.SIGKILL)
    assert "the process that ran it was killed" not in process.communicate()[1] and process.returncode == 137
    process, stage = asked(environment, "wait")
    running = psutil.Process(stage)
    process.kill()  # which nothing can hand on
    running.wait(60)
    process.communicate()


def test_what_is_not_as_it_was_runs_in_a_process_of_its_own(folder, environment):
    process, stage = asked({**environment, "OTHER": "1"})
    assert stage == process.pid and process.communicate("") == ("['dataset'] \n", "1\n")
    process, stage = asked(environment)
    process.communicate("")
    assert stage != process.pid
    (folder / "flows/record.py").touch()
    process, stage = asked(environment)
    process.communicate("")
    assert stage == process.pid


# Two stages, as dvc runs them one after the other; then it is busy for as long as its input is open.
DVC = """
import subprocess, sys
for _ in range(2):
    stage = subprocess.Popen([sys.executable, "-m", "flows", "dataset"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(stage.pid, int(stage.stdout.readline()), flush=True)
    stage.communicate()
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_the_stages_of_a_bare_dvc_share_a_process_that_ends_with_it(folder, tmp_path, killed):
    (tmp_path / "dvc").write_text(DVC)
    with answering(prefect) as server:
        own = {**os.environ, "PYTHONPATH": str(folder), "PREFECT_API_URL": f"{server}/api", "DVC_ROOT": "."}
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        with subprocess.Popen([sys.executable, tmp_path / "dvc"], cwd=folder, env=own, text=True, **pipes) as dvc:
            pairs = []
            for _ in range(2):
                pairs.append([int(word) for word in dvc.stdout.readline().split()])
                said = json.loads((folder / ".nand/beside.json").read_text())
                shared = psutil.Process(said["pid"])
                pairs[-1] += [said["pid"], *(one.pid for one in shared.children())]
            below = [shared, *shared.children(recursive=True)]
            if killed:
                dvc.kill()
            else:
                dvc.stdin.close()
            _, alive = psutil.wait_procs(below, 60)
    assert all(asking != stage for asking, stage, *_ in pairs), "the stages ran in forks"
    assert pairs[0][2:] == pairs[1][2:] and len(pairs[0]) == 4, "of one process"
    assert not alive and not (folder / ".nand/beside").exists()
