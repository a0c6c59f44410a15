"""Images as a notebook has them - paths, PIL images, arrays - and their encoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from PIL import Image

from nand_core.datasets.images import read_image
from nand_core.errors import NandError
from nand_core.tiles import Grid
from nand_core.vlm.features import ImageFeatures

Given = TypeVar("Given")

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nand_core.vlm.encoder import VLM
    from nand_core.vlm.settings import TileSettings

    Picture = str | Path | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Encoded:
    """Images and what the encoder sees in them: made once, asked about any number of texts.

    Attributes:
        images: as they were given; :meth:`Encoded.image` reads one.
        batches: their features, a few images each, or a few tiles of one.
        encoder: the encoder that made them.
        bits: that count in 16-bit files.
        grids: where the tiles of each image lie; none where images are looked at as a whole.
    """

    images: tuple[Picture, ...]
    batches: tuple[ImageFeatures, ...]
    encoder: VLM
    bits: int | None = None
    grids: tuple[Grid, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images)"

    @property
    def names(self) -> list[str]:
        """What messages call the images: their paths, or ``images[0]``, ``images[1]``, ..."""
        return [name_of(image, position) for position, image in enumerate(self.images)]

    def image(self, position: int) -> Image.Image:
        """One of the images as RGB."""
        return opened(self.images[position], position, bits=self.bits)


def encode(
    vlm: VLM, images: Iterable[Picture], bits: int | None = None, tiles: TileSettings | None = None
) -> Encoded:
    """Encode images, a batch of the encoder's size in memory at a time.

    Raises
    ------
    NandError
        Naming the image that cannot be used.
    """
    given = listed(images)
    grids = grids_of(given, tiles, bits=bits)
    return Encoded(given, tuple(batches(vlm, given, bits=bits, grids=grids)), vlm, bits, grids)


def grids_of(
    images: Sequence[Picture], tiles: TileSettings | None, where: str = "images", bits: int | None = None
) -> tuple[Grid, ...]:
    """Where the tiles of each image lie; none without ``tiles``."""
    if tiles is None:
        return ()
    return tuple(Grid.of(opened(one, i, where, bits).size, tiles) for i, one in enumerate(images))


def listed(images: Iterable[Given], where: str = "images") -> tuple[Given, ...]:
    """The images of any iterable, which messages call ``where``; a single one is refused, as is none at all."""
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 3):
        raise NandError(f"{where}: one image given, a list expected; write [image]")
    given = tuple(images)
    if not given:
        raise NandError(f"{where}: none given")
    return given


def opened(picture: Picture, position: int, where: str = "images", bits: int | None = None) -> Image.Image:
    """An image as RGB; arrays are uint8, (H, W) grey or (H, W, 3) RGB; ``bits`` count in a 16-bit file."""
    if isinstance(picture, str | Path):
        return read_image(picture, bits=bits)
    name = name_of(picture, position, where)
    if isinstance(picture, Image.Image):
        if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            raise NandError(f"{name}: a PIL image of mode {picture.mode}; convert it to L or RGB")
        return picture.convert("RGB")
    if not isinstance(picture, np.ndarray):
        kind = type(picture).__name__
        raise NandError(f"{name}: {kind} is no image; give a path, a PIL image or a uint8 array")
    if picture.dtype != np.uint8 or not (picture.ndim == 2 or picture.shape[2:] == (3,)) or not picture.size:
        raise NandError(f"{name}: an array of {picture.dtype} {picture.shape}; give uint8 of shape (H, W) or (H, W, 3)")
    return Image.fromarray(picture).convert("RGB")


def batches(
    vlm: VLM,
    images: Sequence[Picture],
    where: str = "images",
    bits: int | None = None,
    grids: Sequence[Grid] = (),
) -> Iterator[ImageFeatures]:
    """The features of images on the CPU, a batch of the encoder's size at a time; with ``grids`` of their tiles."""
    for pictures in _parts(images, where, bits, grids, vlm.batch_size):
        found = vlm.encode_images(torch.stack([vlm.preprocess(one) for one in pictures]))
        yield found.cpu()


def _parts(
    images: Sequence[Picture], where: str, bits: int | None, grids: Sequence[Grid], size: int
) -> Iterator[list[Image.Image]]:
    for number, grid in enumerate(grids):
        yield from grid.crops(opened(images[number], number, where, bits))
    for start in range(0, 0 if grids else len(images), size):
        yield [opened(one, start + i, where, bits) for i, one in enumerate(images[start : start + size])]


def name_of(image: object, position: int, where: str = "images") -> str:
    """What messages call an image: its path, or ``images[0]``."""
    return str(image) if isinstance(image, str | Path) else f"{where}[{position}]"
