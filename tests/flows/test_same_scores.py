"""NAND as a library beside the pipeline: the same settings give the same numbers, and the documents' lines run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pipeline_project import CLASSES, PARAMS, ROOT, Project
from ruamel.yaml import YAML

import nand
from nand.export.model import export
from nand_core.artifacts.maps import MapFile
from nand_core.datasets.demo.photograph import Subject, draw
from nand_core.decision import good_level
from nand_core.normality import union


def example(project: Project, defect: str, index: int) -> str:
    """One of the demo's test images of wood as an example: its name there."""
    buffer = io.BytesIO()
    Image.fromarray(draw(Subject("wood", "test", defect, index), 0, 128).image).save(buffer, "PNG")
    name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}-{defect}.png"
    path = project.folder / "artifacts/examples/wood" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return name


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """With normalities of wood by example, by a group's text and examples, and by a text; centred on good patches."""
    made = Project(tmp_path_factory.mktemp("project"), json.loads(json.dumps(PARAMS)))
    by_example = {"like": [example(made, "color", 0), {"image": example(made, "color", 1), "box": [20, 20, 90, 90]}]}
    both = {"like": [example(made, "scratch", 0)], "unlike": [example(made, "hole", 0)], "ask": True}
    made.params["encoder"]["centre"] = 0.4
    made.params["suppression"]["examples"] = {"meaning": 12}
    made.params["suppression"]["deepest"] = 2
    made.params["prompts"]["normalities"] = {"wood": [{"stain": by_example}, {"scratch": both}, "dust"]}
    made.create()
    return made


@pytest.fixture(scope="module")
def normality(project, first) -> nand.Normality:
    return nand.Normality.from_params(project.folder / "params.yaml", "carpet")


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_groups_scores_and_maps_are_the_pipelines(project, first, normality, class_name):
    made = nand.Normality.from_params(project.folder / "params.yaml", class_name)
    shared = nand.Normality(
        class_name,
        normality.vlm,
        suppression=made.suppression,
        prompts=made.prompts,
        groups=made.groups,
        heads=made.heads,
    )
    base = MapFile(project.folder / f"artifacts/base_maps/patchcore/{class_name}.npz")
    encoded = shared.encode([project.folder / "data/demo" / name for name in base.ids])
    scores = pd.read_parquet(project.folder / "results/scores.parquet")
    scores = scores[(scores["detector"] == "patchcore") & (scores["class"] == class_name)]
    assert set(scores["group"]) == set(made.groups)
    for group in made.groups:
        wanted = scores[scores["group"] == group].set_index("id").loc[list(base.ids)]
        shared.add(group)
        result = shared.apply(encoded, base[:], level=good_level(wanted.loc[wanted["type"] == "good", "score_before"]))
        shared.remove(group)
        np.testing.assert_array_equal(result.scores_before, wanted["score_before"])
        np.testing.assert_array_equal(result.scores_after, wanted["score_after"])
        stored = MapFile(project.folder / f"artifacts/suppression/{class_name}/{group}.npz")
        np.testing.assert_array_equal(result.suppression, stored[:])


def test_normalities_by_example_give_the_pipelines_scores_and_maps(project, first):
    made = nand.Normality.from_params(project.folder / "params.yaml", "wood")
    assert [(one.text, one.provider, one.like, one.unlike) for one in made.texts] == [
        ("stain", "", 2, 0),
        ("scratch", "curated", 1, 1),
        ("dust", "rules", 0, 0),
    ]
    base = MapFile(project.folder / "artifacts/base_maps/patchcore/wood.npz")
    images = [project.folder / "data/demo" / name for name in base.ids]
    effect = pd.read_parquet(project.folder / "results/normalities.parquet")
    effect = effect[effect["detector"] == "patchcore"].set_index("id")
    result = made.apply(images, base[:], level=good_level(effect.loc[effect["type"] == "good", "score_before"]))
    kept = [position for position, name in enumerate(base.ids) if name in effect.index]
    assert len(base.ids) - len(kept) == 4, "the examples are test images, which no figure counts"
    wanted = effect.loc[[base.ids[position] for position in kept]]
    np.testing.assert_array_equal(result.scores_before[kept], wanted["score_before"])
    np.testing.assert_array_equal(result.scores_after[kept], wanted["score_after"])
    stored = {path.stem: path for path in (project.folder / "artifacts/suppression/wood").glob("*.npz")}
    maps = {name: torch.from_numpy(MapFile(path)[:]) for name, path in stored.items() if name not in made.groups}
    assert [name.partition("-")[0] for name in sorted(maps)] == ["dust", "scratch", "stain"]
    np.testing.assert_array_equal(result.suppression, union(list(maps.values())))
    for text in ("dust", "scratch"):
        made.remove(text)
    np.testing.assert_array_equal(made.apply(result.encoded, base[:]).suppression, maps["stain"])


def test_the_inspection_gives_the_same_scores(project, first):
    effect = pd.read_parquet(project.folder / "results/normalities.parquet")
    effect = effect[effect["detector"] == "patchcore"].set_index("id")
    inbox = project.folder / "inspection/inbox/wood"
    inbox.mkdir(parents=True)
    for number, image in enumerate(effect.index):
        shutil.copy(project.folder / "data/demo" / image, inbox / f"{number}.png")
        os.utime(inbox / f"{number}.png", (1_000_000_000, 1_000_000_000))
    said = project.call(sys.executable, "-m", "flows", "inspection", "inspection", "patchcore")
    assert said.returncode == 0, said.stderr[-3000:]
    rows = pd.read_parquet(project.folder / "inspection/rows").set_index("name")
    assert {tuple(texts) for texts in rows["normalities"]} == {("dust", "scratch", "stain")}
    rows = rows.loc[[f"{number}.png" for number in range(len(effect))]]
    for column in ("score_before", "score_after"):
        np.testing.assert_allclose(rows[column], effect[column], rtol=1e-5)


def test_an_exported_model_runs_without_torch_and_is_not_replaced_unasked(project, first, monkeypatch, tmp_path):
    monkeypatch.chdir(project.folder)
    model, steps = tmp_path / "new/carpet.onnx", []
    made = export("carpet", "patchcore", model, tell=steps.append)
    base = MapFile(Path("artifacts/base_maps/patchcore/carpet.npz"))
    assert made.images == len(base) and made.difference < 1e-4 and len(steps) == 3
    said = json.loads(model.with_suffix(".json").read_text())
    assert said["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert sorted(path.name for path in model.parent.iterdir()) == ["carpet.json", "carpet.onnx"]

    # The example, where neither torch nor SciPy can be imported.
    refuse = "import sys, runpy; sys.modules.update(torch=None, scipy=None); runpy.run_path(sys.argv.pop(1))"
    images = [str(Path("data/demo", name)) for name in base.ids[:2]]
    command = [sys.executable, "-c", refuse, str(ROOT / "examples/inspect_onnx.py"), str(model), *images]
    lines = project.call(*command).stdout.splitlines()
    for line, name, anomaly in zip(lines, images, base[:2], strict=True):
        path, score, alarm = line.split()[:3]
        assert path == name and float(score) == pytest.approx(anomaly.max(), rel=1e-4)
        assert alarm == ("ALARM" if anomaly.max() > said["threshold_after"] else "ok")

    with pytest.raises(nand.NandError, match=r"carpet\.onnx: is there already; name another file, or .* --force"):
        export("carpet", "patchcore", model)


@pytest.mark.parametrize(
    ("asked", "changed", "problem"),
    [
        (("carpt", "patchcore", "a.onnx"), {}, "unknown class 'carpt'; did you mean"),
        (("carpet", "patchcor", "a.onnx"), {}, "unknown detector 'patchcor'; did you mean 'patchcore'"),
        (("carpet", "saved", "a.onnx"), {"saved": {"kind": "external", "maps": "x"}}, "has saved maps alone"),
        (("carpet", "patchcore", "a.bin"), {}, r"a\.bin: call it \*\.onnx"),
        (("carpet", "patchcore", "/proc/a.onnx"), {}, "^/proc: cannot be written"),
        (("carpet", "patchcore", "a.onnx"), {"patchcore": {"kind": "patchcore", "sigma": 3}}, "is not that of the"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_work(project, first, monkeypatch, tmp_path, asked, changed, problem):
    monkeypatch.chdir(project.folder)
    values = YAML(typ="safe").load(Path("params.yaml"))
    values["detectors"] |= changed
    YAML(typ="safe").dump(values, tmp_path / "params.yaml")
    monkeypatch.setattr("nand.export.model.PARAMS", tmp_path / "params.yaml")
    class_name, detector, name = asked
    with pytest.raises(nand.NandError, match=problem):
        export(class_name, detector, tmp_path / "out" / name, tell=pytest.fail)
    assert not (tmp_path / "out").exists()


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
