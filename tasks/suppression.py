"""The suppression maps of one group on its class's test images (Eq. 4)."""

from __future__ import annotations

from typing import Any

import torch

from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Record
from nand_core.normality import suppression_map
from nand_core.settings import SuppressionSettings
from tasks.cache import Spec, item
from tasks.image_features import Shard, read_features
from tasks.work import Work

Vector = tuple[float, ...]


class SuppressionSpec(Spec):
    """``f_add`` and ``f_nor`` are unit text features; ``others`` those of the competing groups, if any."""

    class_name: str
    group: str
    shards: tuple[Shard, ...]
    f_add: Vector
    f_nor: Vector
    others: tuple[Vector, ...] = ()
    encoder: dict[str, Any]
    settings: SuppressionSettings


@item
def suppression(spec: SuppressionSpec, work: Work) -> Record:
    """A_sup (n, 256, 256) in [0, 1]."""
    vlm = work.vlm()
    f_add, f_nor = (torch.tensor(vector, device=vlm.device) for vector in (spec.f_add, spec.f_nor))
    others = torch.tensor(spec.others, device=vlm.device) if spec.others else None

    def batches():
        for shard in spec.shards:
            layers = [
                tokens.to(vlm.device) for tokens in read_features(work.store.path(shard.features)).layers
            ]
            with torch.no_grad():
                maps = suppression_map(
                    layers, vlm.linear, f_add, f_nor, vlm.logit_scale, spec.settings, others
                )
            yield maps.cpu().numpy()

    ids = [path for shard in spec.shards for path in shard.ids]
    with work.store.writing("npz") as put:
        write_maps(put.path, ids, batches())
    return put.record
