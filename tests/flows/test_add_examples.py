"""``nand add --like`` in a repository of its own: what it changes, what it leaves out, and that it is taken back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pandas as pd
import pytest
from pipeline_project import PARAMS, Project

from nand.project.server import local_server
from nand_core.report.strips import strip_name

NAND = (sys.executable, "-m", "nand")
SHOWN = ("data/demo/wood/test/hole/000.png", "data/demo/wood/test/hole/001.png")
ADD = ("add", "wood", "fuzz ok", "--like", *SHOWN)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """One class, one detector, a few images; its first results are there."""
    params = json.loads(json.dumps(PARAMS))
    params["dataset"]["classes"] = ["wood"]
    del params["detectors"]["patchcore"]
    made = Project(tmp_path_factory.mktemp("project"), params)
    made.create()
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        made.environment["PREFECT_API_URL"] = url
        said = made.pipeline()  # in one process, as dvc would start one for each stage
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        assert made.dvc("commit", "--force", "--quiet").returncode == 0
        made.commit("results")
        yield made


@pytest.fixture(scope="module")
def first(project) -> tuple[dict[str, str], str]:
    return project.digests(), (project.folder / "params.yaml").read_text()


def nand(project: Project, *arguments: str) -> str:
    said = project.call(*NAND, *arguments)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    return said.stdout


@pytest.fixture(scope="module")
def refused(project, first) -> list[subprocess.CompletedProcess]:
    """Without --from-test."""
    return [project.call(*NAND, *ADD)]


@pytest.fixture(scope="module")
def added(project, first, refused) -> str:
    return nand(project, *ADD, "--from-test")


@pytest.fixture(scope="module")
def after(project, added) -> tuple[dict[str, str], pd.DataFrame]:
    return project.digests(), pd.read_parquet(project.folder / "results/normalities.parquet")


@pytest.fixture(scope="module")
def listed(project, after) -> str:
    project.environment["COLUMNS"] = "200"
    return nand(project, "list")


@pytest.fixture(scope="module")
def removed(project, listed) -> str:
    return nand(project, "undo", "1")


def test_a_test_image_is_refused_in_one_line_and_nothing_is_changed(project, first, refused):
    (said,) = refused
    assert said.returncode == 1
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"error: {SHOWN[0]}: is in the test set") and "--from-test" in line


def test_the_examples_are_left_out_of_the_effect(added, after):
    files, effect = after
    assert "wood: 'fuzz ok' is normal now (2 examples)" in added
    assert "left out of what is counted, as examples of it: 2 of the test images" in added
    ids = set(effect["id"])
    assert len(ids) == len(effect) and not ids & {name.removeprefix("data/demo/") for name in SHOWN}
    assert "wood/test/hole/002.png" in ids
    assert len([name for name in files if name.startswith("artifacts/examples/wood/")]) == 2


def test_nothing_of_the_protocol_changes(first, after):
    changed = {name for name, digest in after[0].items() if first[0].get(name) != digest}
    examples = {name for name in changed if name.startswith("artifacts/examples/wood/")}
    rows = after[1][after[1]["alarm_before"] != after[1]["alarm_after"]]
    pictures = {f"results/report/changes/wood/april_gan/{strip_name(path)}" for path in rows["id"]}
    assert changed - examples == pictures | {
        "artifacts/suppression/wood/fuzz_ok.npz",
        "results/normalities.parquet",
        "results/report/normalities.html",
    }


def test_the_list_shows_it(listed):
    assert re.search(r"wood +│ fuzz ok +│ 2 examples +│ like 000.png, 001.png +│ examples", listed)


def test_removing_it_leaves_every_byte_as_before(project, first, removed):
    assert "wood: 'fuzz ok' is no longer normal" in removed and "entry 1 is undone: nand log wood" in removed
    assert (project.digests(), (project.folder / "params.yaml").read_text()) == first
    assert not list((project.folder / "artifacts/examples").iterdir())
    assert json.loads(project.dvc("status", "--json").stdout) == {}


def test_a_run_that_fails_leaves_no_file_of_it(project, first, removed):
    """Refused once it is encoded: an image that shows nothing unusual."""
    said = project.call(*NAND, "add", "wood", "plain", "--like", "data/demo/wood/test/good/000.png", "--from-test")
    assert said.returncode == 1 and "Traceback" not in said.stderr
    assert "shows nothing that the good images of 'wood' do not" in said.stderr
    assert "params.yaml is as it was" in said.stderr
    assert (project.folder / "params.yaml").read_text() == first[1]
    assert not list((project.folder / "artifacts/examples").iterdir())


def test_what_was_removed_is_put_back_with_its_images_out_of_the_cache(project, after, removed):
    """No commit ever had them."""
    assert "wood: 'fuzz ok' is normal now (2 examples)" in nand(project, "undo", "2")
    assert project.digests() == after[0]
    assert not (project.folder / ".nand/examples_back").exists()
    entries = [json.loads(line) for line in (project.folder / "normalities.jsonl").read_text().splitlines()]
    assert [(one["id"], one["action"], one.get("undoes")) for one in entries] == [
        (1, "add", None),
        (2, "remove", 1),
        (3, "add", 2),
    ]
    assert [one["image"][17:] for one in entries[2]["like"]] == ["000.png", "001.png"]
    for name in ("like", "asked", "effect", "lost"):
        assert entries[2][name] == entries[0][name]
    assert entries[0]["effect"]["april_gan"]["hole"]["images"] == 1, "the examples are not counted"
