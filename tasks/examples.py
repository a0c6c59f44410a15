"""Normality by example: what good patches look like, and the patches that examples consist of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nand_core.adaptation import targets
from nand_core.artifacts.store import Record
from nand_core.artifacts.verified import verified
from nand_core.datasets.images import mask_fault, read_image, read_mask
from nand_core.errors import NandError
from nand_core.examples import (
    Good,
    Pictured,
    Shown,
    boxed,
    example_file,
    good_distances,
    learn_good,
    patch_vectors,
    picture_patches,
    shown_by,
)
from nand_core.meaning import Kinds
from nand_core.settings import ExampleSettings
from nand_core.vlm.settings import Tiles
from tasks.cache import Bits, Spec, item
from tasks.encoder import shared_encoder
from tasks.image_features import Shard, Views
from tasks.work import Work


class GoodSpec(Spec):
    """The class's good training images, encoded."""

    class_name: str
    shards: tuple[Shard, ...]
    encoder: dict[str, Any]
    settings: ExampleSettings


@item
def good_patches(spec: GoodSpec, work: Work) -> Record:
    """``bank`` (m, C) float32 and ``level`` (1,) float64, as safetensors."""
    try:
        images = sum(len(one.ids) for one in spec.shards)
        tiles = [len(Views(one, work)) for one in spec.shards if one.tiles]
        good = learn_good(vectors(spec.shards, work), images, spec.settings, tiles)
    except NandError as error:
        raise NandError(f"class {spec.class_name!r}: {error}") from None
    with work.store.writing("safetensors") as put:
        save_file({"bank": good.bank.contiguous().cpu(), "level": torch.tensor([good.level]).double()}, put.path)
    return put.record


class DistancesSpec(Spec):
    """Some images, encoded, and what good patches look like."""

    shards: tuple[Shard, ...]
    good: Record


@item
def patch_distances(spec: DistancesSpec, work: Work) -> Record:
    """(n, h, w) float32: of every patch to the nearest good one, as npy."""
    good = read_good(spec.good, work)
    found = [good_distances(part, good).cpu().numpy() for part in vectors(spec.shards, work)]
    with work.store.writing("npy") as put:
        np.save(put.path, np.concatenate(found), allow_pickle=False)
    return put.record


class KindsSpec(Spec):
    """What an encoder calls the kinds of defect of a class; ``deepest`` of its layers are asked."""

    class_name: str
    deepest: int | None
    encoder: dict[str, Any]


@item
def defect_kinds(spec: KindsSpec, work: Work) -> Record:
    """``texts`` (1 + K, E) float32 (``nand_core.meaning.Kinds``) and ``deepest`` (1,), 0 for all; as safetensors."""
    texts = targets.defect_kinds(shared_encoder(work, spec.encoder), spec.class_name)
    with work.store.writing("safetensors") as put:
        save_file({"texts": texts.contiguous(), "deepest": torch.tensor([spec.deepest or 0])}, put.path)
    return put.record


class Place(Spec):
    """Where in an image what is meant lies: a box in pixels, or a mask by content; neither: wherever it is unusual."""

    unkeyed: ClassVar = frozenset({"mask_path"})

    box: tuple[int, int, int, int] | None = None
    mask: str | None = None
    mask_path: Path | None = None


class ExampleSpec(Spec):
    """An image by content, and the place in it.

    ``kinds`` are those of the class and ``heads`` its own, where what an example means counts.
    """

    unkeyed: ClassVar = frozenset({"path", "place"})

    image: str
    path: Path
    place: Place = Place()
    good: Record
    encoder: dict[str, Any]
    settings: ExampleSettings
    kinds: Record | None = None
    heads: Record | None = None
    bits: Bits = None
    tiles: Tiles = None

    def key(self) -> dict[str, Any]:
        """With the place as it is keyed itself."""
        return {**super().key(), "place": self.place.key()}


@item
def example_patches(spec: ExampleSpec, work: Work) -> Record:
    """What :func:`nand_core.examples.picture_patches` gives, float32, as safetensors.

    Raises:
        NandError: the box or mask does not fit the image.
    """
    picture = read_image(spec.path, verified(spec.path, spec.image), spec.bits)
    vlm = shared_encoder(work, spec.encoder, heads=spec.heads)
    where = marked(spec, picture.size)
    good, kinds = read_good(spec.good, work), read_kinds(spec.kinds, work)
    found = picture_patches(vlm, picture, where, good, spec.settings, spec.tiles, kinds)
    return work.store.put(example_file(found), "safetensors")


def read_unusual(record: Record, work: Work) -> float:
    """The share of an example that no good image shows."""
    with safe_open(work.store.path(record), framework="pt") as file:
        return float(file.get_tensor("unusual"))


def marked(spec: ExampleSpec, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Where in an image of ``size`` (width, height) what is meant lies; None where nobody said it.

    Raises:
        NandError: a box that leaves the image, or a mask that marks nothing.
    """
    if spec.place.mask_path is not None:
        mask = verified(spec.place.mask_path, spec.place.mask)
        found = read_mask(spec.place.mask_path, size, mask)
        if not found.any():
            why = mask_fault(spec.place.mask_path, size, mask)
            raise NandError(
                f"{spec.place.mask_path}: marks nothing ({why}); paint what is meant white, or leave the mask out"
            )
        return found
    return None if spec.place.box is None else boxed(spec.path.name, spec.place.box, size)


def vectors(shards: Sequence[Shard], work: Work) -> Iterator[Tensor]:
    """The patch vectors of encoded images, or of their tiles, a few at a time."""
    found = (batch for shard in shards for batch in Views(shard, work).batches())
    return (patch_vectors(batch.features().layers) for batch in found)


def read_good(record: Record, work: Work) -> Good:
    """What :func:`good_patches` left."""
    with safe_open(work.store.path(record), framework="pt") as file:
        return Good(file.get_tensor("bank"), float(file.get_tensor("level")))


def read_kinds(record: Record | None, work: Work) -> Kinds | None:
    """What :func:`defect_kinds` left."""
    if record is None:
        return None
    found = load_file(work.store.path(record))
    return Kinds(found["texts"], int(found["deepest"]) or None)


def read_shown(
    like: Sequence[Record],
    unlike: Sequence[Record],
    good: Record,
    settings: ExampleSettings,
    work: Work,
    kinds: Record | None = None,
) -> Shown:
    """Several examples together, as :func:`nand_core.examples.shown_by` takes them."""
    accepted, refused = (
        [Pictured(**load_file(work.store.path(one))) for one in records] for records in (like, unlike)
    )
    return shown_by(accepted, refused, read_good(good, work).level, settings, read_kinds(kinds, work))
