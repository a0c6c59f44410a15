"""The AUROC table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from prefect import flow

from flows.run import ARTIFACTS, RESULTS, Run
from nand_core.artifacts.store import replacing, sha256_file
from nand_core.protocol import AUROC_COLUMNS, SCORE_COLUMNS, aggregate
from tasks.evaluate import EvaluateSpec
from tasks.evaluate import evaluate as judge


@flow(name="evaluate")
def evaluate(params: str = "params.yaml") -> None:
    """Write ``results/auroc.parquet``, ``results/scores.parquet`` and ``results/metrics.json``."""
    run = Run.start("evaluate", Path(params))
    tests = run.manifest.query("split == 'test'")
    digests: dict[Path, str] = {}
    specs = {}
    for detector in run.params.detectors:
        for name, rows in tests.groupby("class", sort=True):
            base = ARTIFACTS / "base_maps" / detector / f"{name}.npz"
            for group in sorted(set(rows["group"]) - {""}):
                found = ARTIFACTS / "suppression" / str(name) / f"{group}.npz"
                for path in (base, found):
                    digests[path] = digests.get(path) or sha256_file(path)
                specs[detector, name, group] = EvaluateSpec(
                    detector=detector,
                    group=group,
                    rows=tuple(rows[["class", "type", "group", "path"]].to_dict("records")),
                    base=digests[base],
                    base_path=base,
                    suppression=digests[found],
                    suppression_path=found,
                    settings=run.params.evaluation,
                )
    records = run.items(judge, specs)
    answers = [json.loads(run.work.store.path(record).read_bytes()) for record in records.values()]
    table = pd.DataFrame([answer["row"] for answer in answers], columns=AUROC_COLUMNS)
    scores = pd.concat([pd.DataFrame(answer["scores"], columns=SCORE_COLUMNS) for answer in answers])
    for name, frame in (("auroc", table), ("scores", scores)):
        with replacing(RESULTS / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    with replacing(RESULTS / "metrics.json") as temporary:
        temporary.write_text(json.dumps(aggregate(table), indent=2) + "\n")
    run.finish()
