"""``nand add --like`` in a repository of its own: what it changes, what it leaves out, and that it is taken back.

And the protocol for normality by example: its table, and what a changed k computes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from pipeline_project import PARAMS, Project

from benchmarks.scratch import last_run
from flows.server import wait_for_server
from nand.project.server import local_server
from nand_core.report.strips import strip_name
from nand_core.verdict import VERDICTS

NAND = (sys.executable, "-m", "nand")
SHOWN = ("data/demo/wood/test/hole/000.png", "data/demo/wood/test/hole/001.png")
WORDS = ("wood", "fuzz ok", "--like", *SHOWN)
ADD = ("add", *WORDS)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """One class, one detector, a few images; its first results are there."""
    params = json.loads(json.dumps(PARAMS))
    params["dataset"]["classes"] = ["wood"]
    del params["detectors"]["patchcore"]
    params["evaluation"]["examples"] = {"images": [1], "draws": 2}
    made = Project(tmp_path_factory.mktemp("project"), params)
    made.create()
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        wait_for_server(url)
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
def tried(project, refused) -> tuple[str, dict[str, str], str]:
    said = nand(project, "try", *WORDS, "--from-test")
    return said, project.digests(), (project.folder / "params.yaml").read_text()


@pytest.fixture(scope="module")
def added(project, first, tried) -> str:
    return nand(project, *ADD, "--from-test", "--yes")


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


def test_trying_images_changes_nothing(first, tried):
    said, *left = tried
    assert "wood: if 'fuzz ok' were normal (nothing is changed):" in said
    assert "to make it so: nand add wood 'fuzz ok' --like" in said
    assert tuple(left) == first


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


# The protocol. Its settings change last.
GROUPS = 4


@pytest.fixture(scope="module")
def rows(project, after) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results/examples.parquet")


@pytest.fixture(scope="module")
def more(project, rows) -> tuple[pd.DataFrame, dict[str, int]]:
    """Two images shown as well: the table, and what was computed for it."""
    project.params["evaluation"]["examples"] = {"images": [1, 2], "draws": 2}
    project.write_params()
    project.environment["NAND_RUN_ID"] = "more"
    said = project.call(sys.executable, "-m", "flows", "evaluate")
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    computed = {name: row["executed"] for name, row in last_run(project.folder).items() if row["executed"]}
    return pd.read_parquet(project.folder / "results/examples.parquet"), computed


def test_every_group_and_draw_has_a_row(project, rows):
    assert len(rows) == GROUPS * 2 and set(rows["images"]) == {1} and set(rows["draw"]) == {0, 1}
    figures = [name for name in rows if name.startswith(("auroc", "accepted", "retained"))]
    assert rows[figures].to_numpy().min() >= 0 and rows[figures].to_numpy().max() <= 100
    assert (rows["n_normal"] == 4 + 3 - 1).all()  # the good images and the group's, less the one that is shown


def test_the_bound_and_the_text_are_those_of_the_protocol_without_the_shown_images(project, rows):
    auroc = pd.read_parquet(project.folder / "results/auroc.parquet").set_index("group")
    for row in rows.to_dict("records"):
        assert row["auroc_bound"] == auroc.loc[row["group"], "auroc_bound"]  # the group has no part in it
    assert not np.allclose(rows["auroc_after"], rows["auroc_before"])


def test_the_figures_stand_in_the_metrics_and_on_the_page(project, rows):
    metrics = json.loads((project.folder / "results/metrics.json").read_text())
    assert metrics["april_gan"]["examples"]["1"]["gain"] == pytest.approx(
        (rows["auroc_after"] - rows["auroc_before"]).mean()
    )
    counts = metrics["april_gan"]["examples"]["1"]["verdict"]
    assert counts == {name.replace(" ", "_"): int((rows["verdict"] == name).sum()) for name in VERDICTS}
    assert "| april_gan | 1 |" in (project.folder / "results/tables/examples.md").read_text()
    assert "Told by examples" in (project.folder / "results/report/index.html").read_text()


def test_another_number_of_images_computes_its_own_draws_alone(rows, more):
    table, computed = more
    pd.testing.assert_frame_equal(table[table["images"] == 1].reset_index(drop=True), rows)
    assert set(table["images"]) == {1, 2}
    # A draw of two images holds the one of a single one: only the others are looked at for the first time.
    assert computed.keys() <= {"example_patches", "example_scores"}
    # A map a draw, but one for draws of the same images, and the scores of each group.
    assert GROUPS * 2 <= computed["example_scores"] <= GROUPS * 2 + GROUPS
