"""A project anywhere: made by ``nand init``, used from its subfolders, and from a wheel without the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.scratch import ROOT, offline_environment
from nand.cli.app import app
from nand.project import new
from nand_core.config import load_params


def nand(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder of nobody's repository, in which every test begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


@pytest.fixture
def images(place) -> Path:
    """A data set of one class in a folder with spaces."""
    rng = np.random.default_rng(0)
    for folder, count in (("train/good", 3), ("test/good", 2), ("test/hole", 1), ("test/spot", 1)):
        for number in range(count):
            path = place / "my images" / "wood" / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return place / "my images"


def test_a_project_of_ones_own_images(place, images):
    code, said, _ = nand("init", "my line", "--images", "my images")
    assert code == 0 and "cd 'my line' && nand check && nand repro" in said
    made = place / "my line"
    assert load_params(made / "params.yaml").dataset.root == str(images)
    settings = (made / "params.yaml").read_text().splitlines()
    others = [line for line in (ROOT / "profiles/folder.yaml").read_text().splitlines() if "  root: " not in line]
    assert [line for line in settings if "  root: " not in line] == others, "comments and all"
    assert (made / "dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()
    assert len((made / "README.md").read_text().splitlines()) <= 6
    assert (made / ".git").is_dir() and ".dvc/config" in git(made, "status", "--porcelain")
    assert "core.analytics=false" in run(made, sys.executable, "-m", "dvc", "config", "--list")


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments)


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_demo_is_the_default_and_images_below_are_named_from_the_project(place, images):
    assert nand("init", "demo")[0] == 0
    assert (place / "demo/params.yaml").read_text() == (ROOT / "profiles/demo.yaml").read_text()
    assert nand("init", ".", "--images", str(images))[0] == 0
    assert load_params(place / "params.yaml").dataset.root == "my images"


def test_below_a_repository_it_is_a_part_of_that(place):
    git(place, "init", "--quiet")
    assert nand("init", "lines/one")[0] == 0
    assert not (place / "lines/one/.git").exists() and (place / "lines/one/.dvc").is_dir()
    assert run(place / "lines/one", sys.executable, "-m", "dvc", "root") == ".\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("there/line", "--profile", "foldr"), "unknown profile 'foldr'; did you mean 'folder'?"),
        (("there/line", "--images", "nowhere"), "nowhere: no such folder of images"),
        (("there/line", "--images", "there", "--profile", "demo"), "profile demo draws its own images"),
        (("there",), "there/README.md: is there already"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(place, arguments, said):
    (place / "there").mkdir()
    (place / "there/README.md").write_text("mine")
    code, _, line = nand("init", *arguments)
    assert code == 1 and line.startswith(f"error: {said}") and line.count("\n") == 1
    assert [path.relative_to(place).as_posix() for path in sorted(place.rglob("*"))] == ["there", "there/README.md"]


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_half_way_leaves_what_was_there(place, monkeypatch, there):
    if there:
        (place / "line").mkdir()
        (place / "line/notes.txt").write_text("mine")
    monkeypatch.setattr(new, "DVC_CONFIG", None)
    with pytest.raises(TypeError):
        new.create(place / "line", "demo", None)
    assert [path.name for path in place.rglob("*")] == (["line", "notes.txt"] if there else [])


def test_commands_work_in_subfolders_and_paths_are_those_that_were_typed(place, images, monkeypatch):
    assert nand("init", "line", "--images", "my images")[0] == 0
    params = place / "line/params.yaml"
    params.write_text(re.sub("model: .*", "model: embedded", params.read_text()).replace("adapt: {}", "adapt: null"))
    deep = place / "line/deep/er"
    deep.mkdir(parents=True)
    (deep / "other.yaml").write_text("dataset: {}\n")
    for arguments, wanted in (
        (("check", "--quick"), "params.yaml: valid; 1 class, 3 to fit on, 4 to test, 2 groups\n"),
        (("check", "--quick", "../../params.yaml"), "params.yaml: valid; 1 class"),
        (("check", "other.yaml"), "error: deep/er/other.yaml: "),
        (("add", "wood", "spot", "--like", "gone.png"), "error: deep/er/gone.png: "),
        (("add", "wood", "spot", "--like", str(deep / "gone.png")), f"error: {deep}/gone.png: "),
        (("page", "--token-file", "gone"), "error: --token-file deep/er/gone: "),
    ):
        monkeypatch.chdir(deep)
        _, said, line = nand(*arguments)
        assert (said or line).splitlines(keepends=True)[-1].startswith(wanted) or line.startswith(wanted), (said, line)
        assert Path.cwd() == place / "line", "the command's folder, which a process of its own ends with"


def test_the_wheel_serves_without_the_clone(place, images):
    """Built, unpacked beside the installed libraries, and asked from a folder that knows nothing of the clone."""
    copy = place / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, files)):
        if not name.startswith(("tests/", "docs/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name, follow_symlinks=False)
    run(place, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place / "dist"), str(copy))
    (wheel,) = (place / "dist").glob("*.whl")
    alone = place / "alone"
    run(place, sys.executable, "-m", "zipfile", "-e", str(wheel), str(alone))
    programs = f"{Path(sys.executable).parent}:{os.defpath}"
    environment = offline_environment() | {"PYTHONPATH": str(alone), "PATH": programs}

    def ask(*command: str, folder: Path = place) -> str:
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout

    python = sys.executable
    assert str(alone) in ask(python, "-c", "import nand, flows, nand_core; print(nand.__file__, flows.__file__)")
    ask(python, "-m", "nand", "init", "a line", "--images", "my images")
    line = place / "a line"
    ran = ask("dvc", "repro", "inputs", folder=line)
    assert "Running stage 'inputs'" in ran and (line / "artifacts/inputs/report.json").is_file()
    assert "1 class, 3 to fit on, 4 to test, 2 groups" in ask(python, "-m", "nand", "check", "--quick", folder=line)
