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
from nand_core.examples import understood
from nand_core.settings import ExampleSettings, Settings, SuppressionSettings
from tasks.cache import Spec, item
from tasks.encoder import shared_encoder
from tasks.examples import read_shown
from tasks.image_features import Shard, Views
from tasks.work import Work


class ShownSpec(Settings):
    """The patches of a normality's examples, in any order, and the distances of the images' patches to good ones.

    ``kinds`` are the class's kinds of defect, where what patches mean counts.
    """

    like: tuple[Record, ...]
    unlike: tuple[Record, ...]
    good: Record
    distances: Record
    settings: ExampleSettings
    kinds: Record | None = None


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
        sides = spec.shown.like, spec.shown.unlike
        shown = read_shown(*sides, spec.shown.good, spec.shown.settings, work, spec.shown.kinds)
        distances = np.load(work.store.path(spec.shown.distances), allow_pickle=False)
    views = [Views(shard, work) for shard in spec.shards]
    starts = [0, *accumulate(map(len, views))]

    def maps(number: int) -> Iterator[Tensor]:
        start = starts[number]
        for batch in views[number].batches():
            compared, stop, features = None, start + len(batch.ids), batch.features()
            if spec.shown is not None and shown is not None and distances is not None:
                means = None if shown.meaning is None else understood(vlm, features, shown.meaning.kinds)
                compared = Compared(shown, torch.from_numpy(distances[start:stop]), spec.shown.settings, means)
            yield seen(vlm, features, spec.asked, compared, spec.settings)
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
