"""Normality by example through the protocol: what showing some images of a group does to the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from flows.claims import MapsClaimed
from flows.examples import Reference
from flows.features import class_shards
from flows.run import ARTIFACTS, Run
from nand_core.datasets.parts import judged_rows
from nand_core.example_protocol import drawn, example_table
from nand_core.settings import ExampleProtocol, Rule
from tasks.example_scores import Draw, ExampleScoresSpec, GridSpec, example_grid, example_scores
from tasks.image_features import Shard

Where = tuple[str, str, int, int]
"""Class, group, number of images, draw."""


def example_rows(
    run: Run,
    protocol: ExampleProtocol,
    claims: Mapping[str, Mapping[str, MapsClaimed]],
    rules: Mapping[tuple[str, str], Rule],
    digest: Callable[[Path], str],
) -> pd.DataFrame:
    """``results/examples.parquet`` for all detectors; no base map is computed, only read.

    Args:
        claims: what each class's texts claim (``flows.claims.protocol_claims``).
        rules: of each detector and class.
    """
    manifest = run.manifest
    tests = manifest[manifest["split"] == "test"]
    chosen: dict[Where, tuple[str, ...]] = {}
    for (name, group), rows in tests[tests["group"] != ""].groupby(["class", "group"], sort=True):
        for images in protocol.images:
            for draw in range(protocol.draws):
                if shown := drawn(rows, images, draw, protocol.seed):
                    chosen[str(name), str(group), images, draw] = shown
    shards = class_shards(run, "test", encoded=True)
    draws = _draws(run, chosen, shards, dict(zip(tests["path"], tests["sha256"], strict=True)))
    specs = {}
    for detector in run.params.detectors:
        for name, group in dict.fromkeys((name, group) for name, group, _, _ in draws):
            base, text = ARTIFACTS / "base_maps" / detector / f"{name}.npz", claims[name][group]
            specs[detector, name, group] = ExampleScoresSpec(
                detector=detector,
                group=group,
                rows=judged_rows(tests[tests["class"] == name]),
                draws=tuple(one for where, one in draws.items() if where[:2] == (name, group)),
                base=digest(base),
                text=text.claimed,
                files={digest(base): base, **text.files},
                rule=rules[detector, name],
                settings=run.params.evaluation.for_(detector, name),
            )
    records = run.items(example_scores, specs, stage="example_scores") if specs else {}
    return example_table(
        [row for record in records.values() for row in json.loads(run.work.store.path(record).read_bytes())]
    )


def _draws(
    run: Run,
    chosen: dict[Where, tuple[str, ...]],
    shards: dict[str, tuple[Shard, ...]],
    content: dict[str, str],
) -> dict[Where, Draw]:
    reference, settings = Reference(run), run.params.suppression.examples
    grids = {}
    for name in dict.fromkeys(where[0] for where in chosen):
        paths = sorted({path for where, found in chosen.items() if where[0] == name for path in found})
        images = {path: (run.work.root / path, content[path]) for path in paths}
        patches = reference.patches(name, images)
        for where, found in chosen.items():
            if where[0] == name:
                grids[where] = GridSpec(
                    shards=shards[name],
                    like=tuple(patches[path] for path in found),
                    good=reference.good(name),
                    distances=reference.distances(name, shards[name]),
                    encoder=reference.key,
                    settings=settings,
                    kinds=reference.kinds(name),
                    heads=reference.heads(name),
                )
    records = run.items(example_grid, grids, stage="example_scores") if grids else {}
    return {
        where: Draw(images=where[2], draw=where[3], shown=chosen[where], grid=record)
        for where, record in records.items()
    }
