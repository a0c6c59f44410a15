"""NAND as a library beside the pipeline: the same settings give the same numbers, and the documents' lines run."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from pipeline_project import CLASSES, ROOT
from ruamel.yaml import YAML

import nand
from nand_core.artifacts.maps import MapFile


@pytest.fixture(scope="module")
def normality(project, first) -> nand.Normality:
    return nand.Normality.from_params(project.folder / "params.yaml", "carpet")


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_groups_scores_and_maps_are_the_pipelines(project, first, normality, class_name):
    made = nand.Normality.from_params(project.folder / "params.yaml", class_name)
    shared = nand.Normality(
        class_name, normality.vlm, suppression=made.suppression, prompts=made.prompts, groups=made.groups
    )
    base = MapFile(project.folder / f"artifacts/base_maps/patchcore/{class_name}.npz")
    encoded = shared.encode([project.folder / "data/demo" / name for name in base.ids])
    scores = pd.read_parquet(project.folder / "results/scores.parquet")
    scores = scores[(scores["detector"] == "patchcore") & (scores["class"] == class_name)]
    assert set(scores["group"]) == set(made.groups)
    for group in made.groups:
        shared.add(group)
        result = shared.apply(encoded, base[:])
        shared.remove(group)
        wanted = scores[scores["group"] == group].set_index("id").loc[list(base.ids)]
        np.testing.assert_array_equal(result.scores_before, wanted["score_before"])
        np.testing.assert_array_equal(result.scores_after, wanted["score_after"])
        stored = MapFile(project.folder / f"artifacts/suppression/{class_name}/{group}.npz")
        np.testing.assert_array_equal(result.suppression, stored[:])


def test_a_class_has_to_be_named_where_there_are_several(project, first):
    with pytest.raises(nand.NandError, match=r"which class.*carpet, wood"):
        nand.Normality.from_params(project.folder / "params.yaml")
    with pytest.raises(nand.NandError, match="unknown class 'carpt'; did you mean 'carpet'"):
        nand.Normality.from_params(project.folder / "params.yaml", "carpt")


def test_what_the_settings_say_is_normal_is_normal(project, first, normality):
    params = project.folder / "with_normalities.yaml"
    values = YAML(typ="safe").load(project.folder / "params.yaml")
    values["prompts"] |= {"normalities": {"carpet": ["thread", {"lint": ["lint on carpet"]}]}}
    YAML(typ="safe").dump(values, params)
    made = nand.Normality.from_params(params, "carpet")
    params.unlink()
    assert [(text.text, text.provider) for text in made.texts] == [("thread", "curated"), ("lint", "explicit")]


def python_blocks(text: str) -> list[str]:
    return re.findall("^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["docs/library.md", "README.md"])
def test_the_documents_lines_run_after_the_demo(project, first, monkeypatch, name, capsys):
    monkeypatch.chdir(project.folder)
    blocks = python_blocks((ROOT / name).read_text(encoding="utf-8"))
    assert blocks and "apply(" in blocks[0]
    space: dict[str, object] = {}
    for block in blocks:
        exec(block, space)  # noqa: S102 - the project's own documents
    result = space["result"]
    assert isinstance(result, nand.Result) and (result.scores_after <= result.scores_before).all()
    (project.folder / "figure.png").unlink(missing_ok=True)
