"""The suppression maps of one normality on its class's test images: by its text (Eq. 4), by its examples, or both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Record
from nand_core.asked import Asked, Compared, seen
from nand_core.settings import ExampleSettings, Settings, SuppressionSettings
from tasks.cache import Spec, item
from tasks.examples import read_shown
from tasks.image_features import Shard, ShardBatch
from tasks.work import Work


class ShownSpec(Settings):
    """The patches of a normality's examples, in any order, and the distances of the images' patches to good ones."""

    like: tuple[Record, ...]
    unlike: tuple[Record, ...]
    good: Record
    distances: Record
    settings: ExampleSettings


class SuppressionSpec(Spec):
    """``asked`` is the question about the text, if there is one; ``shown`` the examples, if there are any.

    ``heads`` are those of the class, where the encoder is adapted to it.
    """

    class_name: str
    shards: tuple[Shard, ...]
    asked: Asked | None = None
    shown: ShownSpec | None = None
    encoder: dict[str, Any]
    heads: Record | None = None
    settings: SuppressionSettings


@item
def suppression(spec: SuppressionSpec, work: Work) -> Record:
    """A_sup (n, 256, 256) in [0, 1]."""
    vlm = work.vlm(heads=spec.heads)
    shown, distances = None, None
    if spec.shown is not None:
        shown = read_shown(spec.shown.like, spec.shown.unlike, spec.shown.good, spec.shown.settings, work)
        distances = np.load(work.store.path(spec.shown.distances), allow_pickle=False)

    def batches() -> Iterator[NDArray[np.float32]]:
        start = 0
        for shard in spec.shards:
            stop = start + len(shard.ids)
            compared = None
            if spec.shown is not None and shown is not None and distances is not None:
                compared = Compared(shown, torch.from_numpy(distances[start:stop]), spec.shown.settings)
            yield seen(vlm, ShardBatch(shard, work).features(), spec.asked, compared, spec.settings).numpy()
            start = stop

    ids = [path for shard in spec.shards for path in shard.ids]
    with work.store.writing("npz") as put:
        write_maps(put.path, ids, batches())
    return put.record
