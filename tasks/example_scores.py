"""The protocol for normality by example: suppression grids of one draw, and what they do to a detector's scores."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nand_core.artifacts.store import Record
from nand_core.decision import Claim, Claimed, Decision
from nand_core.example_protocol import example_row
from nand_core.examples import enlarged, example_map, patch_vectors, understood
from nand_core.normality import image_score
from nand_core.settings import EvaluationSettings, ExampleSettings, Rule, Settings
from tasks.cache import Spec, item
from tasks.encoder import shared_encoder
from tasks.examples import read_shown
from tasks.image_features import Shard, Views
from tasks.scores import opened
from tasks.work import Work


class GridSpec(Spec):
    """The patches of some examples, and the class's encoded test images with their distances to good patches.

    ``kinds`` are those of the class and ``heads`` its own, where what patches mean counts.
    """

    shards: tuple[Shard, ...]
    like: tuple[Record, ...]
    good: Record
    distances: Record
    encoder: dict[str, Any]
    settings: ExampleSettings
    kinds: Record | None = None
    heads: Record | None = None


@item
def example_grid(spec: GridSpec, work: Work) -> Record:
    """A_sup at every patch, (n, h, w) float32, as npy: small enough to keep one for each draw.

    Of images in tiles (n, 256, 256): what the tiles' patches give together.
    """
    shown = read_shown(spec.like, (), spec.good, spec.settings, work, spec.kinds)
    distances = torch.from_numpy(np.load(work.store.path(spec.distances), allow_pickle=False))
    views = [Views(shard, work) for shard in spec.shards]
    starts = [0, *accumulate(map(len, views))]

    def maps(number: int) -> Iterator[Tensor]:
        start = starts[number]
        for batch in views[number].batches():
            features, stop = batch.features(), start + len(batch.ids)
            means = None
            if shown.meaning is not None:
                vlm = shared_encoder(work, spec.encoder, heads=spec.heads)
                means = understood(vlm, features, shown.meaning.kinds)
            vectors = patch_vectors(features.layers)
            yield example_map(vectors, distances[start:stop], shown, spec.settings, means)
            start = stop

    found = [
        torch.cat(list(maps(number))) if one.grid is None else one.whole(map(enlarged, maps(number)))
        for number, one in enumerate(views)
    ]
    buffer = io.BytesIO()
    np.save(buffer, torch.cat(found).numpy(), allow_pickle=False)
    return work.store.put(buffer.getvalue(), "npy")


class Draw(Settings):
    """One draw of a group's images, and the grid that they give."""

    images: int
    draw: int
    shown: tuple[str, ...]
    grid: Record


class ExampleScoresSpec(Spec):
    """One detector on one class, one group of which is shown; its maps and what the group's text claims by content.

    ``files`` has the maps of each content.
    """

    unkeyed: ClassVar = frozenset({"files"})

    detector: str
    group: str
    rows: tuple[dict[str, str], ...]
    draws: tuple[Draw, ...]
    base: str
    text: Claimed
    files: dict[str, Path]
    rule: Rule
    settings: EvaluationSettings


@item
def example_scores(spec: ExampleScoresSpec, work: Work) -> Record:
    """The rows of ``results/examples.parquet``, as JSON."""
    rows = pd.DataFrame(list(spec.rows))
    named = dict.fromkeys((spec.base, spec.text.suppression, *spec.text.rivals))
    files = [opened(spec.files[one], rows["path"].tolist(), one) for one in named]
    grids = [np.load(work.store.path(one.grid), mmap_mode="r", allow_pickle=False) for one in spec.draws]
    before, by_text = np.empty((2, len(rows)))
    after, both = np.empty((2, len(grids), len(rows)))
    start = 0
    for parts in zip(*(file.batches(16) for file in files), strict=True):
        maps = dict(zip(named, map(torch.from_numpy, parts), strict=True))
        anomaly, said = maps[spec.base], spec.text.of(maps)
        part = slice(start, start := start + len(anomaly))
        decision = Decision(anomaly, spec.rule)
        before[part] = image_score(anomaly)
        by_text[part] = image_score(decision.final_maps([said]))
        for number, grid in enumerate(grids):
            shown = enlarged(torch.from_numpy(grid[part].copy()))
            after[number, part] = image_score(decision.final_maps([Claim(shown)]))
            together = Claim(torch.maximum(shown, said.suppression), said.rivals)
            both[number, part] = image_score(decision.final_maps([together]))
    judged = [
        {
            "images": one.images,
            "draw": one.draw,
            **example_row(
                spec.detector,
                rows,
                spec.group,
                one.shown,
                {"before": before, "after": after[number], "text": by_text, "both": both[number]},
                spec.settings,
            ),
        }
        for number, one in enumerate(spec.draws)
    ]
    return work.store.put(json.dumps(judged, default=lambda v: v.item()).encode(), "json")
