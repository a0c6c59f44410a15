"""A detector on one class: fitted on its good images, then its anomaly maps of the test images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Record
from nand_core.detectors.base import Context, Detector
from nand_core.detectors.build import build_detector
from nand_core.detectors.plugin import plugin_digest
from nand_core.errors import NandError
from tasks.cache import Spec, item
from tasks.encoder import shared_encoder
from tasks.image_features import Shard, Views
from tasks.work import Work


class DetectorSpec(Spec):
    """One detector for one class.

    ``text`` holds f_nor and f_abn where the detector asks texts; ``files`` the digests of weights and of
    other files that it reads; ``encoder`` what an encoding depends on where it uses the encoder; ``heads`` are the
    class's, where it asks them of an encoder that is adapted to it.
    """

    detector: str
    class_name: str
    settings: dict[str, Any]
    shards: tuple[Shard, ...]
    text: tuple[tuple[float, ...], ...] = ()
    encoder: dict[str, Any] = {}
    heads: Record | None = None
    files: dict[str, str] = {}


class MapsSpec(DetectorSpec):
    """``state`` is what fitting gave; None for a detector without training."""

    state: Record | None = None


def build(spec: DetectorSpec, work: Work) -> Detector:
    """The detector of one class, not fitted."""
    text = tuple(torch.tensor(vector) for vector in spec.text)
    vlm = partial(shared_encoder, work, spec.encoder, spec.detector, spec.heads)
    context = Context(spec.class_name, vlm, lambda: text, spec.files)
    return build_detector(spec.detector, work.params.detectors[spec.detector], context)


def fitted(spec: DetectorSpec, state: Record | None, work: Work) -> Detector:
    """The detector of one class as fitting left it."""
    detector = build(spec, work)
    if state is not None:
        detector.load_state(load_file(work.store.path(state)))
    return detector


def _check_files(spec: DetectorSpec, work: Work) -> None:
    """Refuse what a plugin made of files that changed meanwhile: how it reads them is its own affair."""
    settings = work.params.detectors[spec.detector]
    if settings.kind == "plugin" and plugin_digest(settings, spec.class_name) != spec.files:
        raise NandError(f"{spec.detector}: files that it reads have changed; nothing was stored, run again")


@item
def fit_detector(spec: DetectorSpec, work: Work) -> Record:
    """What the detector learned from the good images (a memory bank, say), as safetensors."""
    detector = build(spec, work)
    detector.fit(batch for shard in spec.shards for batch in Views(shard, work).batches())
    _check_files(spec, work)
    state = {name: tensor.contiguous().cpu() for name, tensor in detector.state().items()}
    with work.store.writing("safetensors") as put:
        save_file(state, put.path)
    return put.record


@item
def base_maps(spec: MapsSpec, work: Work) -> Record:
    """Anomaly maps (n, 256, 256) >= 0 of the class's test images."""
    detector = fitted(spec, spec.state, work)
    ids = [path for shard in spec.shards for path in shard.ids]

    def batches() -> Iterator[np.ndarray]:
        for shard in spec.shards:
            views = Views(shard, work)
            maps: np.ndarray = views.whole(detector.maps(batch) for batch in views.batches()).numpy()
            yield maps

    with work.store.writing("npz") as put:
        write_maps(put.path, ids, batches())
        _check_files(spec, work)
    return put.record
