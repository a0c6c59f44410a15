"""The suppression maps of one group on its class's test images (Eq. 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Record
from nand_core.asked import Asked, Vector, answer
from nand_core.settings import SuppressionSettings
from tasks.cache import Spec, item
from tasks.image_features import Shard, ShardBatch
from tasks.work import Work


class SuppressionSpec(Spec):
    """``f_add`` and ``f_nor`` are unit text features; ``others`` those of the competing groups, if any.

    ``heads`` are those of the class, where the encoder is adapted to it.
    """

    class_name: str
    group: str
    shards: tuple[Shard, ...]
    f_add: Vector
    f_nor: Vector
    others: tuple[Vector, ...] = ()
    encoder: dict[str, Any]
    heads: Record | None = None
    settings: SuppressionSettings


@item
def suppression(spec: SuppressionSpec, work: Work) -> Record:
    """A_sup (n, 256, 256) in [0, 1]."""
    vlm = work.vlm(heads=spec.heads)
    asked = Asked(spec.group, spec.f_add, spec.f_nor, spec.others)

    def batches() -> Iterator[NDArray[np.float32]]:
        for shard in spec.shards:
            yield answer(vlm, ShardBatch(shard, work).features(), asked, spec.settings).numpy()

    ids = [path for shard in spec.shards for path in shard.ids]
    with work.store.writing("npz") as put:
        write_maps(put.path, ids, batches())
    return put.record
