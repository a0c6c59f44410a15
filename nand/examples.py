"""Images that show what is normal, or what is not, as a notebook has them; and what the encoder sees in them."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nand.images import Encoded, batches, grids_of, listed, name_of, opened
from nand_core.artifacts.store import sha256_file
from nand_core.datasets.images import LAST_LABEL, MASK_THRESHOLD, mask_fault, read_mask
from nand_core.errors import NandError
from nand_core.examples import (
    Good,
    Pictured,
    Shown,
    boxed,
    check_example,
    example_file,
    learn_good,
    patch_vectors,
    picture_patches,
    shown_by,
)
from nand_core.prompts import settings as stored
from nand_core.settings import ExampleSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nand.images import Picture
    from nand_core.meaning import Kinds
    from nand_core.vlm.encoder import VLM
    from nand_core.vlm.features import ImageFeatures
    from nand_core.vlm.settings import TileSettings


@dataclass(frozen=True, eq=False)
class Example:
    """An image, and where in it what is meant lies: in a box or under a mask; by default wherever it is unusual.

    Attributes:
        image: path, PIL image or uint8 array.
        box: x, y, width and height in pixels.
        mask: array (H, W) of the image's size, bool or uint8, or a path of one.
    """

    image: Picture
    box: tuple[int, int, int, int] | None = None
    mask: NDArray[np.bool_] | NDArray[np.uint8] | str | Path | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """An example, read.

    Attributes:
        name: what messages call it.
        picture: RGB.
        where: (H, W), where in it what is meant lies; None where nobody said it.
    """

    name: str
    picture: Image.Image
    where: NDArray[np.bool_] | None

    @property
    def digest(self) -> str:
        """Of its pixels."""
        return hashlib.sha256(f"{self.picture.size}".encode() + self.picture.tobytes()).hexdigest()


def read_examples(given: Iterable[Picture | Example], side: str, bits: int | None = None) -> list[Seen]:
    """Examples as :meth:`nand.Normality.add` takes them, ``side`` being ``like`` or ``unlike``.

    Raises:
        NandError: naming the one that cannot be used.
    """
    if isinstance(given, Example):
        raise NandError(f"{side}: one example given, a list expected; write [example]")
    if isinstance(given, Sequence) and not isinstance(given, str) and not given:
        return []
    return [_read(one, position, side, bits) for position, one in enumerate(listed(given, side))]


def stored_example(folder: Path, one: stored.Example) -> Example:
    """An example of a params file, whose files lie in ``folder``.

    Raises:
        NandError: a file is missing, or is another one.
    """
    for path in (folder / name for name in (one.image, one.mask) if name):
        if not path.is_file():
            raise NandError(f"{path}: not there; 'dvc pull' fetches it")
        if not sha256_file(path).startswith(path.name[:16]):
            raise NandError(f"{path}: has other content than it is named after; 'dvc checkout --force' brings it back")
    return Example(folder / one.image, one.box, folder / one.mask if one.mask else None)


def good_patches(
    vlm: VLM,
    images: tuple[Picture, ...] | Encoded,
    settings: ExampleSettings,
    bits: int | None = None,
    tiles: TileSettings | None = None,
) -> Good:
    """What good images look like; of those that are not encoded a batch at a time is in memory."""
    features: Iterable[ImageFeatures]
    if isinstance(images, Encoded):
        grids, features = images.grids, images.batches
    else:
        grids = grids_of(images, tiles, "good", bits)
        features = batches(vlm, images, "good", bits, grids)
    vectors: Iterator[Tensor] = (patch_vectors(part.layers) for part in features)
    return learn_good(vectors, len(images), settings, [len(grid) for grid in grids])


def shown(
    vlm: VLM,
    class_name: str,
    like: Sequence[Seen],
    unlike: Sequence[Seen],
    good: Good,
    settings: ExampleSettings,
    *,
    tiles: TileSettings | None = None,
    kinds: Kinds | None = None,
) -> Shown:
    """A normality as its examples show it.

    Args:
        kinds: those of the class, where what patches mean counts.

    Raises:
        NandError: naming an image that shows nothing, or nothing of the class.
    """

    def pictured(one: Seen) -> Pictured:
        found = picture_patches(vlm, one.picture, one.where, good, settings, tiles, kinds)
        check_example(one.name, class_name, one.where is not None, float(found.unusual))
        return found

    def digest(found: Pictured) -> str:
        return hashlib.sha256(example_file(found)).hexdigest()

    accepted, refused = (sorted(map(pictured, side), key=digest) for side in (like, unlike))
    return shown_by(accepted, refused, good.level, settings, kinds)


def _read(given: Picture | Example, position: int, side: str, bits: int | None) -> Seen:
    one = given if isinstance(given, Example) else Example(given)
    name, picture = name_of(one.image, position, side), opened(one.image, position, side, bits)
    if one.box is not None and one.mask is not None:
        raise NandError(f"{name}: give a box or a mask, not both")
    where = None
    if one.mask is not None:
        where = _mask(name, one.mask, picture.size)
    elif one.box is not None:
        try:
            x, y, width, height = map(operator.index, one.box)
        except (TypeError, ValueError):
            message = f"{name}: the box {one.box!r} is not x, y, width and height, whole numbers of pixels"
            raise NandError(message) from None
        where = boxed(name, (x, y, width, height), picture.size)
    return Seen(name, picture, where)


def _mask(name: str, mask: NDArray[np.generic] | str | Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(mask, str | Path):
        name, found = str(mask), read_mask(mask, size)
    elif not isinstance(mask, np.ndarray) or mask.dtype not in (np.bool_, np.uint8):
        kind = f"an array of {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise NandError(f"{name}: its mask is {kind}; give a path, or an array of bool or uint8")
    elif mask.shape != size[::-1]:
        raise NandError(f"{name}: its mask has the shape {mask.shape}, it itself is {size[::-1]}: height and width")
    else:  # brightness or label numbers, as in a file
        found = mask.astype(np.uint8) > (0 if mask.max() <= LAST_LABEL else MASK_THRESHOLD)
    if not found.any():
        why = f" ({mask_fault(mask, size)})" if isinstance(mask, str | Path) else ""
        raise NandError(f"{name}: the mask marks nothing{why}; paint what is meant white, or leave the mask out")
    return found
