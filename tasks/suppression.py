"""The suppression maps of one normality on its class's test images: by its text (Eq. 4), by its examples, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Record
from nand_core.asked import Asked, Compared, seen
from nand_core.settings import ExampleSettings, Settings, SuppressionSettings
from tasks.cache import Spec, item
from tasks.encoder import shared_encoder
from tasks.examples import read_shown
from tasks.image_features import Shard, Views
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


def drawing(spec: SuppressionSpec, work: Work) -> Callable[[int], Tensor]:
    """What draws A_sup (n, 256, 256) of the shard with a number, in any order and several at once."""
    vlm = shared_encoder(work, spec.encoder, heads=spec.heads)
    shown, distances = None, None
    if spec.shown is not None:
        shown = read_shown(spec.shown.like, spec.shown.unlike, spec.shown.good, spec.shown.settings, work)
        distances = np.load(work.store.path(spec.shown.distances), allow_pickle=False)
    views = [Views(shard, work) for shard in spec.shards]
    starts = [0, *accumulate(map(len, views))]

    def maps(number: int) -> Iterator[Tensor]:
        start = starts[number]
        for batch in views[number].batches():
            compared, stop = None, start + len(batch.ids)
            if spec.shown is not None and shown is not None and distances is not None:
                compared = Compared(shown, torch.from_numpy(distances[start:stop]), spec.shown.settings)
            yield seen(vlm, batch.features(), spec.asked, compared, spec.settings)
            start = stop

    def draw(number: int) -> Tensor:
        return views[number].whole(maps(number))

    return draw


@item
def suppression(spec: SuppressionSpec, work: Work) -> Record:
    """A_sup (n, 256, 256) in [0, 1]."""
    draw = drawing(spec, work)
    ids = [path for shard in spec.shards for path in shard.ids]
    with work.store.writing("npz") as put:
        write_maps(put.path, ids, (draw(number).numpy() for number in range(len(spec.shards))))
    return put.record
