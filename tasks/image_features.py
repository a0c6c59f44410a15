"""The encoding of one shard of images: computed once, asked by every detector and every normality."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nand_core.artifacts.store import Record
from nand_core.detectors.base import ImageBatch
from nand_core.errors import NandError
from nand_core.normality import resize_maps
from nand_core.tiles import AT_ONCE, Box, Grid, joined
from nand_core.vlm.features import ImageFeatures
from nand_core.vlm.settings import Tiles
from tasks.cache import Bits, Spec, item
from tasks.encoder import shared_encoder
from tasks.images import read_images
from tasks.work import Work


class EncodeSpec(Spec):
    """Images by content, and the encoder; with ``tiles`` a single image."""

    unkeyed: ClassVar = frozenset({"paths"})

    images: tuple[str, ...]
    paths: tuple[str, ...]
    encoder: dict[str, Any]
    bits: Bits = None
    tiles: Tiles = None


@item
def image_features(spec: EncodeSpec, work: Work) -> Record:
    """Patch tokens ``layer_0``.. (N, C, h, w) and ``pooled`` (N, E), float32, as npz; ``beside_0``.. of a second tower.

    Of an image in tiles the same a few tiles at a time, ``0/layer_0``.., ``1/layer_0``.., and ``size`` (2,), its own.
    """
    vlm = shared_encoder(work, spec.encoder)
    images = read_images(work, spec.paths, spec.images, spec.bits)

    def encoded(parts: Sequence[Image.Image]) -> dict[str, Any]:
        features = vlm.encode_images(torch.stack([vlm.preprocess(image) for image in parts])).cpu()
        towers = (("layer", features.layers), ("beside", features.beside))
        arrays = {f"{tower}_{i}": tokens.numpy() for tower, layers in towers for i, tokens in enumerate(layers)}
        return {"pooled": features.pooled.numpy(), **arrays}

    with work.store.writing("npz") as put:
        if spec.tiles is None:
            np.savez(put.path, **encoded(list(images)))
        else:
            (image,) = images
            grid = Grid.of(image.size, spec.tiles)
            with zipfile.ZipFile(put.path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                _write(archive, "size", np.asarray(image.size))
                for number, crops in enumerate(grid.crops(image)):
                    for name, array in encoded(crops).items():
                        _write(archive, f"{number}/{name}", array)
    return put.record


def _write(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def read_features(path: Path, part: int | None = None) -> ImageFeatures:
    """The encoding back from its object; of an image in tiles a ``part`` of them."""
    before = "" if part is None else f"{part}/"
    with np.load(path, allow_pickle=False) as stored:
        layers, beside = (
            tuple(
                torch.from_numpy(stored[f"{before}{tower}_{i}"])
                for i in range(sum(name.startswith(f"{before}{tower}_") for name in stored.files))
            )
            for tower in ("layer", "beside")
        )
        return ImageFeatures(layers, torch.from_numpy(stored[f"{before}pooled"]), beside)


class Shard(Spec):
    """A few images of one class: their ids and content, and their encoding where it is needed.

    With ``tiles`` a single image.
    """

    ids: tuple[str, ...]
    images: tuple[str, ...]
    features: Record | None = None
    bits: Bits = None
    tiles: Tiles = None


class ShardBatch:
    """A shard as detectors take it (``nand_core.detectors.ImageBatch``)."""

    def __init__(self, shard: Shard, work: Work) -> None:
        self.ids: Sequence[str] = shard.ids
        self._shard = shard
        self._work = work

    def images(self) -> list[Image.Image]:
        """The RGB images, decoded now."""
        return list(read_images(self._work, self._shard.ids, self._shard.images, self._shard.bits))

    def features(self) -> ImageFeatures:
        """Their shared encoding, read now; NandError where the spec has none, as nobody said to need it."""
        return read_features(_encoding(self._shard, self._work))


class TileBatch:
    """Some tiles of an image as detectors take images; each has the id of the image."""

    def __init__(self, views: Views, number: int) -> None:
        self._views, self._number = views, number
        self._boxes = views.boxes(number)
        self.ids: Sequence[str] = views.shard.ids * len(self._boxes)

    def images(self) -> list[Image.Image]:
        """The RGB tiles, cut now."""
        return [self._views.image.crop(box) for box in self._boxes]

    def features(self) -> ImageFeatures:
        """Their part of the image's encoding, read now; NandError as :class:`ShardBatch`."""
        return read_features(self._views.encoding, self._number)


class Views:
    """What is looked at of a shard: its images, or the tiles of its one image."""

    def __init__(self, shard: Shard, work: Work) -> None:
        self.shard, self._work = shard, work

    @property
    def encoding(self) -> Path:
        """The file; NandError where the spec has none, as nobody said to need it."""
        return _encoding(self.shard, self._work)

    @cached_property
    def image(self) -> Image.Image:
        """The one image, decoded once for all of its tiles."""
        (found,) = read_images(self._work, self.shard.ids, self.shard.images, self.shard.bits)
        return found

    @cached_property
    def grid(self) -> Grid | None:
        """Of the tiles; None where images are looked at as a whole."""
        if self.shard.tiles is None:
            return None
        size = self.image.size if self.shard.features is None else _read_size(self.encoding)
        return Grid.of(size, self.shard.tiles)

    def __len__(self) -> int:
        return len(self.shard.ids) if self.grid is None else len(self.grid)

    def boxes(self, number: int) -> tuple[Box, ...]:
        """The tiles of one of the ``batches``."""
        return self.grid.boxes[number * AT_ONCE : (number + 1) * AT_ONCE] if self.grid else ()

    def batches(self) -> Iterator[ImageBatch]:
        """All of them, few enough tiles at a time for the memory."""
        if self.grid is None:
            yield ShardBatch(self.shard, self._work)
        else:
            yield from (TileBatch(self, number) for number in range(self.grid.parts))

    def whole(self, maps: Iterable[Tensor]) -> Tensor:
        """(n, 256, 256) of the shard's images, of the maps of its ``batches`` one after the other."""
        return resize_maps(next(iter(maps))) if self.grid is None else joined(self.grid, maps)


def _encoding(shard: Shard, work: Work) -> Path:
    if shard.features is None:
        raise NandError("the detector asks for features, but its needs do not name them")
    return work.store.path(shard.features)


def _read_size(path: Path) -> tuple[int, int]:
    with np.load(path, allow_pickle=False) as stored:
        width, height = stored["size"].tolist()
        return width, height
