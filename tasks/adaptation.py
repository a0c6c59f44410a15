"""Heads for one class: the patches of drawn pictures, item by item, the training on all of them, and the centre."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nand_core.adaptation.centre import mean_directions, shift
from nand_core.adaptation.heads import HeadSettings, train_head
from nand_core.adaptation.patches import Patches, kept_patches, to_tensors
from nand_core.adaptation.targets import text_targets
from nand_core.artifacts.store import Record
from nand_core.drawing.lexicon import lexicon
from nand_core.drawing.photographs import painted, reduced
from nand_core.drawing.scenes import Scene, scene
from nand_core.normality import text_feature
from nand_core.tiles import Grid
from nand_core.vlm.heads import stored
from nand_core.vlm.settings import Tiles, TileSettings
from tasks.cache import Bits, Spec, item
from tasks.encoder import shared_encoder
from tasks.image_features import Shard, Views
from tasks.images import read_images
from tasks.work import Work

OFTEN = 10.0
"""Seconds between two lines of the log."""
_MOST = (40, 80)
"""Normal and defective patches kept of a picture at most: those of wide layers must fit into memory together."""

_TILES = 8
"""Of a large photograph that defects are drawn on."""


class PicturesSpec(Spec):
    """Drawn pictures ``first`` .. ``first + count - 1`` of a seed.

    On good photographs where ``images`` names any by content, else scenes drawn from nothing.
    """

    unkeyed: ClassVar = frozenset({"paths"})

    images: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    seed: int
    first: int
    count: int
    encoder: dict[str, Any]
    bits: Bits = None
    tiles: Tiles = None


class HeadsSpec(Spec):
    """A head a layer for a class, learned from ``pictures`` (what :func:`drawn_patches` gave)."""

    class_name: str
    pictures: tuple[Record, ...]
    steps: int
    seed: int
    encoder: dict[str, Any]


class CommitteeSpec(Spec):
    """Heads (what :func:`learned_heads` gave) that decide together."""

    members: tuple[Record, ...]


@item
def drawn_patches(spec: PicturesSpec, work: Work) -> Record:
    """Kept patches of drawn pictures, layer by layer, as safetensors."""
    vlm = shared_encoder(work, spec.encoder)

    def pictures() -> Iterator[Scene]:
        images = read_images(work, spec.paths, spec.images, spec.bits)
        if spec.tiles is not None:
            images = _some_tiles(images, spec.tiles, spec.seed + spec.first)
        photographs = [reduced(image, vlm.image_size) for image in images]
        for index in range(spec.first, spec.first + spec.count):
            yield painted(photographs, vlm.image_size, spec.seed, index) if photographs else scene(spec.seed, index)

    def encode(scenes: Sequence[Scene]) -> Sequence[torch.Tensor]:
        pixels = torch.stack([vlm.preprocess(Image.fromarray(one.image)) for one in scenes])
        return vlm.encode_images(pixels).asked

    with _ONE_THREAD, work.store.writing("safetensors") as put:
        save_file(to_tensors(kept_patches(pictures(), encode, spec.seed + spec.first, _MOST)), put.path)
    return put.record


def _some_tiles(images: Iterable[Image.Image], tiles: TileSettings, seed: int) -> Iterator[Image.Image]:
    """Of each image at most ``_TILES``, drawn by chance: one of so many is a photograph like any other."""
    rng = np.random.default_rng(seed)
    for image in images:
        boxes = Grid.of(image.size, tiles).boxes
        for number in rng.permutation(len(boxes))[:_TILES]:
            yield image.crop(boxes[number])


@item
def learned_heads(spec: HeadsSpec, work: Work) -> Record:
    """The tensors of a head a layer, as safetensors: ``<number of the layer>.<name>``."""
    vlm = shared_encoder(work, spec.encoder)
    settings = HeadSettings(seed=spec.seed, steps=spec.steps)
    found: dict[str, torch.Tensor] = {}
    with _ONE_THREAD:
        targets = text_targets(vlm, lexicon(), [spec.class_name.replace("_", " ")])
        for number in range(len(vlm.widths)):
            told = _Told(spec, number, len(vlm.widths))
            head = train_head(_layer(spec.pictures, work, number), targets, vlm.logit_scale, settings, told)
            found |= {f"{number}.{name}": value for name, value in head.state_dict().items()}
    with work.store.writing("safetensors") as put:
        save_file(found, put.path)
    return put.record


@item
def adapted_heads(spec: CommitteeSpec, work: Work) -> Record:
    """A committee a layer (``nand_core.vlm.heads``), as safetensors."""
    members = [load_file(work.store.path(record)) for record in spec.members]
    layers = sorted({int(name.partition(".")[0]) for name in members[0]})
    named = [[_below(f"{number}.", member) for member in members] for number in layers]
    with work.store.writing("safetensors") as put:
        save_file(stored(named), put.path)
    return put.record


class CentreSpec(Spec):
    """A class's good training images, encoded; what plain normality is called; its ``heads`` if it has learned some."""

    shards: tuple[Shard, ...]
    normal: tuple[str, ...]
    share: float
    encoder: dict[str, Any]
    heads: Record | None = None


@item
def centred_heads(spec: CentreSpec, work: Work) -> Record:
    """The heads, and the shift of every layer (``nand_core.adaptation.centre``), as safetensors."""
    vlm = shared_encoder(work, spec.encoder, heads=spec.heads)
    with _ONE_THREAD:
        normal = text_feature(vlm.encode_text(spec.normal)).cpu()
        batches = (batch for shard in spec.shards for batch in Views(shard, work).batches())
        encodings = ([tokens.to(vlm.device) for tokens in batch.features().asked] for batch in batches)
        means = mean_directions(encodings, vlm.linear, vlm.embed_dim)
    found = {f"{number}.shift": shift(mean, normal, spec.share) for number, mean in enumerate(means)}
    if spec.heads is not None:
        found |= load_file(work.store.path(spec.heads))
    with work.store.writing("safetensors") as put:
        save_file(found, put.path)
    return put.record


class _Told:
    """A line of the log every ten seconds: learning takes minutes."""

    def __init__(self, spec: HeadsSpec, number: int, layers: int) -> None:
        layer = f", layer {number + 1} of {layers}" if layers > 1 else ""
        self._what, self._steps = f"heads for {spec.class_name}{layer}", spec.steps
        self._last = time.monotonic()

    def __call__(self, step: int, loss: float) -> None:
        if time.monotonic() - self._last > OFTEN:
            self._last = time.monotonic()
            from prefect.logging import get_logger

            get_logger(__name__).info("%s: step %d of %d", self._what, step, self._steps)


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _layer(records: Sequence[Record], work: Work, number: int) -> Patches:
    """One layer's patches of many pictures: the others stay on the disk."""
    parts = []
    for record in records:
        with safe_open(work.store.path(record), framework="pt") as file:
            parts.append(Patches(*(file.get_tensor(f"{number}.{name}") for name in Patches._fields)))
    return Patches.joined(parts)


class _OneThread:
    """Torch on one thread while any item is in it: sums in one order give the same bytes whatever the machine.

    The number is the process's, which several items share: the last one out sets it back.
    """

    def __init__(self) -> None:
        self._guard, self._inside, self._before = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._guard:
            if not self._inside:
                self._before = torch.get_num_threads()
                torch.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._inside -= 1
            if not self._inside:
                torch.set_num_threads(self._before)


_ONE_THREAD = _OneThread()
