"""Results of other settings are known by what DVC recorded of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flows.inbox.recorded import RESULTS, check_recorded
from nand_core.config import Params
from nand_core.errors import NandError

SETTINGS = {
    "encoder": {"model": "embedded", "device": "auto"},
    "detectors": {"patchcore": {"kind": "patchcore", "coreset": 0.1}},
    "suppression": {"dilation": 37},
    "evaluation": {"alpha": 1.0, "bootstrap": 50},
}


def params(**sections) -> Params:
    return Params.model_validate({"dataset": {"kind": "demo", "root": "data/demo"}, **SETTINGS, **sections})


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """As ``dvc repro`` leaves it; JSON is YAML too."""
    (tmp_path / "results").mkdir()
    outs = []
    for path in RESULTS:
        (tmp_path / path).write_bytes(path.encode())
        outs.append({"path": path, "md5": hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()})
    kept = {name: SETTINGS[name] for name in ("encoder", "suppression", "evaluation")}
    maps = {"encoder": kept["encoder"], "detectors.patchcore": SETTINGS["detectors"]["patchcore"]}
    stages = {
        "base_maps@patchcore": {"params": {"params.yaml": maps}},
        "suppression": {
            "params": {"params.yaml": {name: kept[name] for name in ("encoder", "suppression")}},
            "outs": [
                {"path": "artifacts/control", "md5": "control.dir"},
                {"path": "artifacts/suppression", "md5": "new.dir"},
            ],
        },
        "evaluate": {
            "params": {"params.yaml": {"evaluation": kept["evaluation"]}},
            "deps": [{"path": "artifacts/suppression", "md5": "new.dir"}],
            "outs": outs,
        },
    }
    path = tmp_path / "dvc.lock"
    path.write_text(json.dumps({"stages": stages}))
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"encoder": {"model": "embedded", "device": "cpu", "batch_size": 3}},
        {"suppression": {"dilation": 37, "combine": "mean"}},
        {"evaluation": {"alpha": 1, "false_alarm": 0.2}},
        {"report": {"gallery": 9}},
        {"detectors": {"april_gan": {"kind": "april_gan"}, **SETTINGS["detectors"]}},
    ],
)
def test_what_changes_no_score_is_no_difference(lock, changed):
    check_recorded(params(**changed), "patchcore", lock)


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("encoder", {"model": "embedded", "precision": "bf16"}, "encoder"),
        ("detectors", {"patchcore": {"kind": "patchcore", "coreset": 0.2}}, "detectors.patchcore"),
        ("suppression", {"dilation": 35}, "suppression"),
        ("evaluation", {"alpha": 0.5}, "evaluation"),
    ],
)
def test_other_scores_need_other_results(lock, section, values, named):
    with pytest.raises(NandError, match=f"params.yaml: {named} is not that of the results; run 'nand repro' first"):
        check_recorded(params(**{section: values}), "patchcore", lock)
    (lock.parent / RESULTS[0]).write_bytes(b"of a run without DVC")
    check_recorded(params(**{section: values}), "patchcore", lock)


def test_settings_that_are_valid_no_more_are_other_settings(lock):
    lock.write_text(lock.read_text().replace('"dilation": 37', '"radius": 37'))
    with pytest.raises(NandError, match="suppression is not that of the results"):
        check_recorded(params(), "patchcore", lock)


def test_maps_newer_than_the_results_are_refused(lock):
    lock.write_text(lock.read_text().replace("new.dir", "old.dir", 1))
    with pytest.raises(NandError, match="older than artifacts/suppression; run 'nand repro' first"):
        check_recorded(params(), "patchcore", lock)


@pytest.mark.parametrize("text", ["", "{", "stages: {}", "stages: {evaluate: {outs: 3}}", "[]"])
def test_without_a_record_nothing_is_refused(lock, text):
    lock.write_text(text)
    check_recorded(params(suppression={"dilation": 35}), "patchcore", lock)
    lock.unlink()
    check_recorded(params(suppression={"dilation": 35}), "patchcore", lock)
