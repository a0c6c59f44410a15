"""The real pipeline in a repository of its own: what it leaves, what it redoes, what it refuses."""

from __future__ import annotations

import json
import re
import socket
import sys

import numpy as np
import pandas as pd
import pytest
from pipeline_project import CLASSES, PHRASED, server_address
from scipy import ndimage
from sklearn.metrics import roc_auc_score

STAGES = {
    "demo_data", "dataset", "adaptation", "examples", "prompts", "text_features", "base_maps@april_gan",
    "base_maps@patchcore", "suppression", "evaluate", "report", "image_features",
}  # fmt: skip
COLUMNS = [
    "detector", "class", "group", "auroc_before", "auroc_after", "auroc_bound", "auroc_wrong", "wrong",
    "gain_low", "gain_high", "n_normal", "n_abnormal",
]  # fmt: skip
DETECTORS = ("april_gan", "patchcore")
GROUPS = 4
TEXTS = GROUPS + 1
"""Of a class: its groups' and the one that means nothing."""


@pytest.fixture(scope="module")
def project(project):
    """Whose first server makes its database, as a user's does."""
    (project.folder / ".nand/prefect/prefect.db").unlink()
    return project


def test_auroc_table_and_metrics(project, first):
    assert list(first.auroc.columns) == COLUMNS
    assert len(first.auroc) == 2 * 8
    assert first.rows().index.is_unique
    assert set(first.auroc["class"]) == set(CLASSES)
    assert (first.auroc["n_normal"] == 4 + 3).all() and (first.auroc["n_abnormal"] == 9).all()
    metrics = json.loads((project.folder / "results/metrics.json").read_text())
    assert set(metrics) == set(DETECTORS)
    for detector, row in metrics.items():
        assert list(row) == [
            "verdict", "accepted_before", "accepted_after", "retained_before", "retained_after", "lost",
            "auroc_before", "auroc_after", "auroc_bound", "gain", "share", "text_effect", "groups", "groups_worse",
        ]  # fmt: skip
        assert list(row["verdict"]) == ["works", "helps", "no_effect", "harms"] and sum(row["verdict"].values()) == 8
        mine = first.auroc[first.auroc["detector"] == detector]
        summary = json.loads((project.folder / "results/summary.json").read_text())[detector]
        assert summary == {
            **{name: row["verdict"][name] for name in ("works", "harms")},
            **{name: row[f"{name}_after"] for name in ("accepted", "retained")},
            **{name: row[name] for name in ("lost", "gain")},
        }
        assert row["groups"] == 8
        assert row["auroc_after"] == pytest.approx(mine["auroc_after"].mean())
        assert row["gain"] == pytest.approx(row["auroc_after"] - row["auroc_before"])
        assert row["auroc_bound"] == pytest.approx(mine["auroc_bound"].mean())
        assert row["share"] == pytest.approx(100 * row["gain"] / (row["auroc_bound"] - row["auroc_before"]))
        assert row["text_effect"] == pytest.approx((mine["auroc_after"] - mine["auroc_wrong"]).mean())


def test_maps(project, first, manifest):
    groups = manifest.loc[manifest["group"] != "", ["class", "group"]].drop_duplicates()
    paths = {(name, f"artifacts/base_maps/{detector}/{name}.npz") for detector in DETECTORS for name in CLASSES}
    paths |= {(name, f"artifacts/suppression/{name}/{group}.npz") for name, group in groups.itertuples(index=False)}
    paths |= {(name, f"artifacts/rivals/{name}/{group}.npz") for name, group in groups.itertuples(index=False)}
    paths |= {(name, f"artifacts/control/{name}.npz") for name in CLASSES}
    assert {path for path in first.files if path.endswith(".npz")} == {path for _, path in paths}
    for name, path in sorted(paths):
        with np.load(project.folder / path, allow_pickle=False) as stored:
            maps, ids = stored["maps"], stored["ids"]
        assert maps.shape == (len(ids), 256, 256) and maps.dtype == np.float32
        assert list(ids) == list(manifest.loc[(manifest["class"] == name) & (manifest["split"] == "test"), "path"])
        assert maps.min() >= 0
        if "suppression" in path:
            assert 0 < maps.max() <= 1
        if "control" in path:
            assert maps.max() <= 1


def test_report_tables_and_plots(project, first):
    page = (project.folder / "results/report/index.html").read_text()
    assert all(name in page for name in (*CLASSES, *DETECTORS)) and "data:image" in page
    for name in ("tables/summary.md", "plots/auroc.csv", *(f"plots/gain/{name}.csv" for name in DETECTORS)):
        assert (project.folder / "results" / name).stat().st_size > 0, name
    assert "results/report/index.html" in first.said.stdout
    assert all(column in first.said.stdout for column in ("verdict", "lost", "bound", "share", "text effect"))
    assert "works: at least 80 % of a group pass" in first.said.stdout and "5 % false alarms" in first.said.stdout
    assert "warning" not in first.said.stdout, "words without a meaning are there on purpose"


def test_record_of_the_run(project, first, status_after_first):
    assert set(first.stages) == STAGES
    for row in first.stages.values():
        assert set(row) == {"items", "executed", "cached", "seconds"}
        assert row["items"] == row["executed"] + row["cached"]
    executed = {name: row["executed"] for name, row in first.stages.items()}
    assert executed["prompts"] == len(CLASSES) * GROUPS
    assert executed["suppression"] == len(CLASSES) * TEXTS
    for stage in ("prompts", "text_features", "evaluate"):
        assert first.stages[stage]["cached"] == 0, "nothing was there yet; what is asked for twice is one item"
    assert executed["text_features"] >= 8 + 2 * 3
    each = 1 + 1 + GROUPS  # the detector's own scores, those of all texts, rows of groups
    assert executed["evaluate"] == len(DETECTORS) * len(CLASSES) * each
    assert status_after_first.split() == ["??", "dvc.lock"]


def test_own_server_is_stopped(first):
    with socket.socket() as probe:
        assert probe.connect_ex(server_address(first.said)) != 0
    assert "View at" not in first.said.stderr, "a link that is dead when the run has ended"


def test_runs_are_called_after_what_they_do(first):
    names = set(re.findall(r"Flow run '([^']+)'", first.said.stderr))
    assert {"dataset", "evaluate", "base_maps april_gan", "base_maps patchcore"} <= names


def test_each_image_is_encoded_once(first, manifest):
    assert first.stages["image_features"]["executed"] < len(manifest)
    assert first.stages["image_features"]["cached"] > 0


@pytest.fixture(scope="module")
def manifest(project, first) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "artifacts/manifest.parquet")


def decided(anomaly: np.ndarray, suppression: np.ndarray, rivals: list[np.ndarray], level: float) -> float:
    """An image's score by the rule that docs/suppression.md gives, region by region."""
    left = np.where(anomaly > level, 0, anomaly).max()
    regions, count = ndimage.label(anomaly > level, np.ones((3, 3)))
    for number in range(1, count + 1):
        above = anomaly[regions == number].astype(float) - level
        own, *others = (
            (np.average(seen, weights=above**2) + seen.max()) / 2
            for seen in (maps[regions == number] for maps in (suppression, *rivals))
        )
        if max(others) > own:
            own *= (own / max(others)) ** 2
        left = max(left, level + above.max() * (1 - np.clip(own / 0.4, 0, 1)))
    return float(left)


@pytest.fixture(scope="module")
def recomputed(project, first, manifest) -> pd.DataFrame:
    """AUROC in percent before and after, from the stored maps and the manifest alone."""

    def maps(path):
        with np.load(project.folder / path, allow_pickle=False) as stored:
            return dict(zip(stored["ids"].tolist(), stored["maps"], strict=True))

    rows = {}
    for name, groups in manifest[manifest["group"] != ""].groupby("class")["group"].unique().items():
        tests = manifest[(manifest["class"] == name) & (manifest["split"] == "test")]
        texts = {group: maps(f"artifacts/suppression/{name}/{group}.npz") for group in groups}
        texts["nonsense"] = maps(f"artifacts/control/{name}.npz")
        rivals = {group: maps(f"artifacts/rivals/{name}/{group}.npz") for group in groups}
        for detector in DETECTORS:
            anomaly = maps(f"artifacts/base_maps/{detector}/{name}.npz")
            before = {path: anomaly[path].max() for path in tests["path"]}
            level = np.median([before[path] for path in tests.loc[tests["type"] == "good", "path"]])
            scores = {
                text: np.float32(
                    [
                        decided(anomaly[path], own[path], [rivals[g][path] for g in groups if g != text], level)
                        for path in tests["path"]
                    ]
                )
                for text, own in texts.items()
            }
            for group in groups:
                truth = [int(t != "good" and g != group) for t, g in zip(tests["type"], tests["group"], strict=True)]
                after = {text: 100 * roc_auc_score(truth, found) for text, found in scores.items()}
                left = tests[tests["group"] != group]
                bound = roc_auc_score(left["type"] != "good", [before[path] for path in left["path"]])
                rows[detector, name, group] = [
                    100 * roc_auc_score(truth, list(before.values())),
                    after.pop(group),
                    100 * bound,
                    max(after.values()),
                    {text for text, value in after.items() if value == max(after.values())},
                ]
    columns = ["auroc_before", "auroc_after", "auroc_bound", "auroc_wrong", "best"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def test_auroc_agrees_with_scikit_learn(first, recomputed):
    figures = ["auroc_before", "auroc_after", "auroc_bound", "auroc_wrong"]
    found = first.rows(*figures, "wrong")
    assert set(found.index) == set(recomputed.index)
    wanted = recomputed.loc[list(found.index)]
    np.testing.assert_allclose(found[figures], wanted[figures].astype(float), rtol=0, atol=1e-9)
    assert all(wrong in best for wrong, best in zip(found["wrong"], wanted["best"], strict=True))
    assert (found["auroc_before"] != found["auroc_after"]).any()


def test_second_run_executes_nothing(first, unchanged):
    assert set(unchanged.stages) == STAGES
    assert unchanged.executed() == {}
    assert "Prefect: " in first.said.stdout and "Prefect: " not in unchanged.said.stdout, "nobody asked for it"
    assert unchanged.files == first.files


def test_other_phrases_redo_their_group_alone(first, phrased):
    executed = phrased.executed()
    assert {name: executed.pop(name) for name in ("prompts", "text_features", "suppression")} == {
        "prompts": 1,
        "text_features": 1,
        "suppression": 1,
    }
    # The scores of its class's texts, and the rows of the class: it was a wrong text to the other groups.
    assert executed == {"evaluate": len(DETECTORS) * (1 + GROUPS), "report": 1}
    maps = {name for name in first.files if name.endswith(".npz")}
    assert {name for name in maps if first.files[name] != phrased.files[name]} == {
        f"artifacts/suppression/{'/'.join(PHRASED)}.npz"
    }
    others = first.rows().columns.drop(["auroc_wrong", "wrong"])
    changed = (first.rows(*others) != phrased.rows(*others)).any(axis=1)
    assert set(changed[changed].index) <= {(detector, *PHRASED) for detector in DETECTORS}
    pd.testing.assert_frame_equal(*(state.rows().drop("carpet", level="class") for state in (first, phrased)))
    assert "warning: carpet/thread: the text encoder does not know: zorkly" in phrased.said.stdout
    assert phrased.files["results/scores.parquet"] != first.files["results/scores.parquet"]


def test_dvc_shows_metrics_and_plots(looks):
    for command, said in looks.items():
        assert said.returncode == 0, f"dvc {command}: {said.stderr}"
    assert all(name in looks["metrics show"].stdout for name in DETECTORS)


def test_phrases_taken_back_and_damage_healed(first, restored):
    assert restored.executed() == {"base_maps@patchcore": 1, "suppression": 1}, "only what was damaged"
    assert restored.files == first.files


def test_another_image_redoes_its_shard_and_class(first, mirrored):
    executed = mirrored.executed()
    executed.pop("report")
    assert executed == {
        "dataset": 1,
        "image_features": 1,
        "base_maps@april_gan": 1,
        "base_maps@patchcore": 1,
        "suppression": TEXTS,
        "evaluate": (1 + 1 + GROUPS) * len(DETECTORS),
    }
    before, after = (s.rows().drop("wood", level="class") for s in (first, mirrored))
    pd.testing.assert_frame_equal(before, after)
    changed = {name for name, digest in first.files.items() if mirrored.files[name] != digest}
    assert not any("/carpet" in name for name in changed)
    assert {f"artifacts/base_maps/{detector}/wood.npz" for detector in DETECTORS} <= changed


def test_strength_zero_gives_the_detectors_own_figures(mirrored, without_strength):
    assert set(without_strength.executed()) == {"evaluate", "report"}
    table = without_strength.rows()
    assert (table["auroc_before"] == table["auroc_after"]).all()
    assert (table["auroc_wrong"] == table["auroc_after"]).all()
    assert (table["gain_low"] == 0).all() and (table["gain_high"] == 0).all()
    pd.testing.assert_series_equal(table["auroc_bound"], mirrored.rows()["auroc_bound"])
    pd.testing.assert_series_equal(table["auroc_before"], mirrored.rows()["auroc_before"])


def refused(said) -> str:
    """The one line that says what is wrong."""
    assert said.returncode != 0
    assert "Traceback" not in said.stdout + said.stderr
    lines = [line for line in said.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, said.stderr
    return lines[0]


def test_unknown_key_is_refused(mistaken):
    mistaken.params["evaluation"]["alfa"] = 0.5
    line = refused(mistaken.repro())
    assert "'evaluation.alfa'" in line and "'alpha'" in line


def test_unknown_detector_is_refused(mistaken):
    mistaken.params["detectors"]["patchcore"]["kind"] = "patchcor"
    line = refused(mistaken.repro())
    assert "'patchcor'" in line and "'patchcore'" in line


def test_unknown_group_is_refused(mistaken):
    mistaken.params["prompts"]["explicit"] = {"carpet": {"tread": ["loose thread"]}}
    line = refused(mistaken.repro())
    assert "'tread'" in line and "'thread'" in line


def test_missing_data_folder_is_refused(mistaken):
    mistaken.params["dataset"] = {"kind": "folder", "root": "data/nowhere"}
    assert "data/nowhere" in refused(mistaken.repro())


def test_maps_that_were_never_made_are_named(mistaken):
    made = mistaken.folder / "artifacts/base_maps/patchcore/wood.npz"
    away = made.rename(made.with_suffix(".away"))
    try:
        line = refused(mistaken.call(sys.executable, "-m", "flows", "evaluate"))
    finally:
        away.rename(made)
    assert "artifacts/base_maps/patchcore/wood.npz: not there yet; 'nand repro' runs" in line


def test_truncated_image_is_refused(mistaken):
    path = min((mistaken.folder / "data/demo/carpet/test/good").iterdir())
    original = path.read_bytes()
    path.write_bytes(original[: len(original) // 2])
    try:
        line = refused(mistaken.repro())
    finally:
        path.write_bytes(original)
    assert path.name in line and "carpet" in line


def test_nothing_reports_home(project):
    said = project.call(sys.executable, "-m", "dvc", "config", "--list")
    assert {"core.analytics=false", "core.check_update=false"} <= set(said.stdout.split())
    assert "remote." not in said.stdout
