"""Versions inside a flow, against real git and DVC; and the programs that a flow runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from prefect.logging import disable_run_logger
from prefect.states import Failed

from flows import versions
from flows.programs import ProgramFailed, may_help, program
from flows.summary import changed_rows
from nand_core.errors import NandError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A git and DVC repository with one stage and one data set; the remote is yet to be made."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "test")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test@localhost")
    versions.git("init", "--quiet")
    dvc("init", "--quiet")
    dvc("remote", "add", "--default", "store", str(tmp_path / "remote"))
    Path("params.yaml").write_text("a: 1\n")
    stage = {"cmd": "cp params.yaml out.txt", "deps": ["params.yaml"], "outs": ["out.txt"]}
    Path("dvc.yaml").write_text(json.dumps({"stages": {"copy": stage}}))
    Path("data.txt").write_text("images\n")
    dvc("add", "--quiet", "data.txt")
    dvc("repro", "--quiet")
    versions.git("add", "--all")
    versions.git("commit", "--quiet", "--message", "first")
    with disable_run_logger():
        yield folder


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True)


def stored(remote: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (remote / "files").rglob("*") if path.is_file())


def test_a_push_that_fails_is_made_up_for_by_the_next(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "remote").write_text("no folder")
    with pytest.raises(ProgramFailed, match="dvc push"):
        versions.push.fn("")
    assert versions.UNPUSHED.exists()
    Path("params.yaml").write_text("a: 2\n")
    dvc("repro", "--quiet")
    versions.commit.fn("second")
    (tmp_path / "remote").unlink()
    versions.push.fn("store")
    assert stored(tmp_path / "remote") == [b"a: 1\n", b"a: 2\n", b"images\n"]
    assert not versions.UNPUSHED.exists()


def test_pull_brings_outs_back_and_never_overwrites_data(repository: Path, tmp_path: Path) -> None:
    versions.push.fn("")
    subprocess.run(["rm", "-rf", ".dvc/cache", "data.txt"], check=True)
    Path("out.txt").write_text("half-writ")
    versions.pull.fn("")
    assert Path("out.txt").read_text() == "a: 1\n" and Path("data.txt").read_text() == "images\n"
    Path("data.txt").unlink()
    Path("data.txt").write_text("images that nobody has added yet\n")
    with pytest.raises(ProgramFailed, match=r"data\.txt"):
        versions.pull.fn("")
    assert Path("data.txt").read_text() == "images that nobody has added yet\n"


def test_without_a_remote_nothing_is_pulled_or_pushed_and_an_unknown_one_is_named(repository: Path) -> None:
    with pytest.raises(NandError, match="no remote 'stor'; it has store"):
        versions.push.fn("stor")
    dvc("remote", "remove", "store")
    versions.pull.fn("")
    versions.push.fn("")
    assert not versions.UNPUSHED.exists()


def test_a_commit_holds_the_settings_the_lock_and_the_log_alone(repository: Path) -> None:
    head = versions.git("rev-parse", "HEAD")
    versions.commit.fn("nothing changed")
    assert versions.git("rev-parse", "HEAD") == head
    Path("params.yaml").write_text("a: 3\n")
    Path("other.txt").write_text("not asked for\n")
    versions.git("add", "other.txt")
    versions.commit.fn("settings")
    versions.tag.fn("nightly")
    assert versions.git("show", "--name-only", "--format=%s").split() == ["settings", "params.yaml"]
    assert versions.git("tag", "--points-at", "HEAD").startswith("nightly-20")
    Path("normalities.jsonl").write_text("{}\n")
    versions.commit.fn("log")
    assert versions.git("show", "--name-only", "--format=%s").split() == ["log", "normalities.jsonl"]


def test_a_program_says_whether_another_try_may_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "said.py").write_text(
        "import sys, time\n"
        "print(*sys.argv[1:], flush=True)\n"
        "time.sleep(600 if 'sleep' in sys.argv else 0)\n"
        "sys.exit(len(sys.argv) > 2)\n"
    )
    with disable_run_logger():
        assert program("said", "fine") == ["fine"]
        with pytest.raises(NandError, match="said error: no such class: no such class") as mistake:
            program("said", "error:", "no such class")
        with pytest.raises(ProgramFailed, match="exit status 1\nmemory ran out"):
            program("said", "memory", "ran out")
        with pytest.raises(ProgramFailed, match="not ended within") as late:
            program("said", "sleep", hours=1 / 3600)
    for error, helps in ((mistake.value, False), (late.value, True)):
        assert may_help(None, None, Failed(data=error)) is helps


def test_what_changed_since_the_last_run_is_listed() -> None:
    rows = [("april_gan", "carpet", group, 70.0, 80.0) for group in ("hole", "thread")]
    before = pd.DataFrame(rows, columns=["detector", "class", "group", "auroc_before", "auroc_after"])
    assert changed_rows(None, before) == "There was none.\n"
    assert changed_rows(before, before) == "Every figure is the same.\n"
    now = before.assign(auroc_after=[80.0, 85.0])
    now = pd.concat([now, now.iloc[:1].assign(group="stain")])
    text = changed_rows(before, now)
    assert "| april_gan | carpet | thread | 70.0, 80.0 | 70.0, 85.0 |" in text
    assert "| april_gan | carpet | stain | - | 70.0, 80.0 |" in text and "hole" not in text
