"""The protocol for normality by example in the pipeline: its table, and what a changed k computes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from pipeline_project import PARAMS, Project

from benchmarks.scratch import last_run
from nand.project.server import local_server
from nand_core.verdict import VERDICTS

GROUPS = 4


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Iterator[Project]:
    """One class, one detector, one image shown in two draws."""
    params = json.loads(json.dumps(PARAMS))
    params["dataset"]["classes"] = ["wood"]
    del params["detectors"]["patchcore"]
    params["evaluation"]["examples"] = {"images": [1], "draws": 2}
    made = Project(tmp_path_factory.mktemp("project"), params)
    made.create()
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        made.environment["PREFECT_API_URL"] = url
        said = made.pipeline()
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        yield made


@pytest.fixture(scope="module")
def first(judged) -> pd.DataFrame:
    return pd.read_parquet(judged.folder / "results/examples.parquet")


@pytest.fixture(scope="module")
def more(judged, first) -> tuple[pd.DataFrame, dict[str, int]]:
    """Two images shown as well: the table, and what was computed for it."""
    judged.params["evaluation"]["examples"] = {"images": [1, 2], "draws": 2}
    judged.write_params()
    judged.environment["NAND_RUN_ID"] = "more"
    said = judged.call(sys.executable, "-m", "flows", "evaluate")
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    computed = {name: row["executed"] for name, row in last_run(judged.folder).items() if row["executed"]}
    return pd.read_parquet(judged.folder / "results/examples.parquet"), computed


def test_every_group_and_draw_has_a_row(judged, first):
    assert len(first) == GROUPS * 2 and set(first["images"]) == {1} and set(first["draw"]) == {0, 1}
    figures = [name for name in first if name.startswith(("auroc", "accepted", "retained"))]
    assert first[figures].to_numpy().min() >= 0 and first[figures].to_numpy().max() <= 100
    assert (first["n_normal"] == 4 + 3 - 1).all()  # the good images and the group's, less the one that is shown


def test_the_bound_and_the_text_are_those_of_the_protocol_without_the_shown_images(judged, first):
    auroc = pd.read_parquet(judged.folder / "results/auroc.parquet").set_index("group")
    for row in first.to_dict("records"):
        assert row["auroc_bound"] == auroc.loc[row["group"], "auroc_bound"]  # the group has no part in it
    assert not np.allclose(first["auroc_after"], first["auroc_before"])


def test_the_figures_stand_in_the_metrics_and_on_the_page(judged, first):
    metrics = json.loads((judged.folder / "results/metrics.json").read_text())
    assert metrics["april_gan"]["examples"]["1"]["gain"] == pytest.approx(
        (first["auroc_after"] - first["auroc_before"]).mean()
    )
    counts = metrics["april_gan"]["examples"]["1"]["verdict"]
    assert counts == {name.replace(" ", "_"): int((first["verdict"] == name).sum()) for name in VERDICTS}
    assert "| april_gan | 1 |" in (judged.folder / "results/tables/examples.md").read_text()
    assert "Told by examples" in (judged.folder / "results/report/index.html").read_text()


def test_another_number_of_images_computes_its_own_draws_alone(first, more):
    table, computed = more
    pd.testing.assert_frame_equal(table[table["images"] == 1].reset_index(drop=True), first)
    assert set(table["images"]) == {1, 2}
    # A draw of two images holds the one of a single one: only the others are looked at for the first time.
    assert computed.keys() <= {"example_patches", "example_scores"}
    # A map a draw, but one for draws of the same images, and the scores of each group.
    assert GROUPS * 2 <= computed["example_scores"] <= GROUPS * 2 + GROUPS
