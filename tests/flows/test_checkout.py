"""One run at a time in a checkout, and dvc's half-written files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from flows.checkout import mend, one_run
from flows.processes import at_work

HOLDER = """
import sys, time
from pathlib import Path
from flows.checkout import one_run
with one_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_waits_for_the_first_even_if_that_is_killed(tmp_path: Path, capsys) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        killing = threading.Timer(0.5, os.kill, (first.pid, signal.SIGKILL))
        killing.start()
        with one_run(tmp_path):
            assert first.wait(10) == -signal.SIGKILL
    assert "another run is at work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "whole", "broken", "what"),
    [
        ("dvc.lock", "schema: '2.0'\nstages: {}\n", "schema: '2.0'\nstages:\n  demo: {cmd: 'py", "half-written"),
        ("dvc.lock", "schema: '2.0'\nstages: {}\n", "", "half-written"),
        ("dvc.lock", "a: 1\n", "a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n", "marks of a merge that is not"),
        (".dvc/tmp/rwlock", "{}", '{"a": {"read"', "half-written"),
    ],
)
def test_what_dvc_left_half_written_is_set_aside(tmp_path, monkeypatch, capsys, name, whole, broken, what) -> None:
    monkeypatch.chdir(tmp_path)
    path, state = Path(name), Path(".nand")
    path.parent.mkdir(parents=True, exist_ok=True)
    state.mkdir()
    mend(state)
    path.write_text(whole)
    mend(state)
    assert path.read_text() == whole and capsys.readouterr().err == ""
    path.write_text(broken)
    mend(state)
    assert not path.exists() and (state / f"{path.name}.broken").read_text() == broken
    said = capsys.readouterr().err
    assert name in said and what in said and ("half-written" in said) == (what == "half-written")


def test_a_claim_of_dvc_holds_only_while_dvc_runs(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rwlock = Path(".dvc/tmp/rwlock")
    rwlock.parent.mkdir(parents=True)

    def claim(pid: int, mode: str) -> None:
        info = {"pid": pid, "cmd": "dvc repro"}
        rwlock.write_text(json.dumps({mode: {"artifacts": info if mode == "write" else [info]}}))
        mend(tmp_path)

    other = "import sys; print('up', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", other], **pipes) as reused:
        assert reused.stdout.readline() == b"up\n"
        claim(reused.pid, "write")
        assert not rwlock.exists()
        reused.stdin.close()
        os.waitid(os.P_PID, reused.pid, os.WEXITED | os.WNOWAIT)
        claim(reused.pid, "read")  # a zombie
        assert not rwlock.exists()
    with subprocess.Popen([sys.executable, "-c", other, "dvc", "repro"], **pipes) as running:
        assert running.stdout.readline() == b"up\n"  # before that its command line may not be there to be read
        ending = threading.Timer(0.5, running.stdin.close)
        ending.start()
        claim(running.pid, "write")  # waits
        assert running.wait(10) == 0 and not rwlock.exists()
    assert f"'dvc repro' (PID {running.pid}) is at work" in capsys.readouterr().err


def test_what_a_killed_run_left_at_work_is_ended(tmp_path: Path, monkeypatch, capsys) -> None:
    def stage(folder: Path, **environment: str) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(["sleep", "600"], cwd=folder, env={**os.environ, **environment})

    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    with stage(here, NAND_RUN_ID="a") as orphan, stage(elsewhere, NAND_RUN_ID="a") as other, stage(here) as own:
        monkeypatch.chdir(here)
        with one_run(Path(".nand")):
            alive = [at_work(psutil.Process(one.pid)) for one in (orphan, other, own)]
        for one in (orphan, other, own):
            one.kill()
    assert alive == [False, True, True]
    assert f"at work ({orphan.pid}): ending them" in capsys.readouterr().err
