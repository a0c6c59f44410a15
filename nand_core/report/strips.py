"""An image beside its maps as one small picture, and the files of many of them.

One file holds all four parts: a page of a thousand images asks for a thousand files, not for four thousand.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nand_core.artifacts.disk import refusals, temporary_file
from nand_core.artifacts.maps import MapFile
from nand_core.decision import Claimed, final_maps
from nand_core.errors import NandError
from nand_core.normality import union
from nand_core.report.panels import ANOMALY, SUPPRESSION, coloured, fitted, levels, webp
from nand_core.settings import Rule

PARTS = ("image", "A", "A_sup", "A_final")
GAP = 4
"""Pixels between two parts."""

_BETWEEN = (128, 128, 128)  # seen beside dark maps, and on a light page as on a dark one


class MapsById:
    """Maps of a file by image id, read from it one at a time."""

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self.file = MapFile(path, sha256)
        self.index = {name: i for i, name in enumerate(self.file.ids)}

    def __getitem__(self, image_id: str) -> np.ndarray:
        """The map (H, W); a NandError that names the file where it has none of this image."""
        if image_id not in self.index:
            raise no_map(self.file.path, image_id)
        return self.file[self.index[image_id]]


def no_map(path: Path, image_id: str) -> NandError:
    """The error for a file that lacks an image."""
    return NandError(f"{path}: has no map of {image_id}; run the stage that writes it again")


def strip_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Width and height of the strip of an image of ``size``, whose parts' longest side is ``longest``."""
    width, height = fitted(size, longest)
    return len(PARTS) * width + (len(PARTS) - 1) * GAP, height


def strip(
    image: Image.Image,
    maps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    longest: int,
    quality: int,
) -> bytes:
    """Image, A, A_sup and A_final from left to right, as WebP of :func:`strip_size`; the same pixels, the same bytes.

    Args:
        image: RGB.
        maps: A >= 0, A_sup in [0, 1] and A_final, each (h, w). A and A_final are coloured from 0 to A's maximum.
        longest: side of a part in pixels.
        quality: of the WebP, 1 to 100.
    """
    width, height = fitted(image.size, longest)
    anomaly, suppression, final = maps
    top = float(anomaly.max())
    # A large photograph is reduced in whole steps first, which is several times as fast and looks the same.
    parts = [image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)]
    for values, most, ramp in ((anomaly, top, ANOMALY), (suppression, 1.0, SUPPRESSION), (final, top, ANOMALY)):
        parts.append(Image.fromarray(coloured(levels(values, most, (width, height)), ramp)))
    whole = Image.new("RGB", strip_size(image.size, longest), _BETWEEN)
    for number, part in enumerate(parts):
        whole.paste(part, (number * (width + GAP), 0))
    return webp(whole, quality, effort=2)  # half of the default's time for a tenth more bytes


def strip_name(image_id: str) -> str:
    """Name of the file that holds the strip of an image: whatever characters its path has, these need no quoting."""
    return f"{hashlib.sha256(image_id.encode()).hexdigest()[:24]}.webp"


def draw_strips(
    images: Mapping[str, Callable[[], Image.Image]],
    base: str,
    claims: Sequence[Claimed],
    files: Mapping[str, Path],
    rule: Rule,
    *,
    longest: int,
    quality: int,
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the strip of each image, in the maps' order, one image and its maps in memory at a time.

    Args:
        images: what gives the RGB image of each id.
        base: the content of the detector's maps, which hold these ids.
        claims: what is normal; all of it together is A_sup.
        files: the maps of each content.
        rule: what they do to the detector's maps, the one that the scores were computed with.

    Raises:
        NandError: a map is missing or cannot be read, or at the end, a file has not the content by which it is named.
    """
    named = dict.fromkeys((base, *(one for claim in claims for one in (claim.suppression, *claim.rivals))))
    read = {content: MapFile(files[content], content) for content in named}
    for file in read.values():
        if missing := images.keys() - set(file.ids):
            raise no_map(file.path, min(missing))
        if file.ids != read[base].ids:
            raise NandError(f"{file.path}: its maps are not those of {files[base]}; run its stage again")
    # All of each file is read, in order, for its digest: what is drawn are the maps that were hashed.
    for image_id, *parts in zip(read[base].ids, *(file.batches(1) for file in read.values()), strict=True):
        if image_id not in images:
            continue
        found = dict(zip(read, map(torch.from_numpy, parts), strict=True))
        anomaly, claimed = found[base], [one.of(found) for one in claims]
        suppression = union([one.suppression for one in claimed])
        final = final_maps(anomaly, claimed, rule)
        maps = (anomaly[0].numpy(), suppression[0].numpy(), final[0].numpy())
        yield strip_name(image_id), strip(images[image_id](), maps, longest, quality)


def write_archive(path: Path, strips: Iterable[tuple[str, bytes]]) -> None:
    """An uncompressed zip of files; the same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in strips:
            archive.writestr(zipfile.ZipInfo(name), data)  # a bare ZipInfo has no time of now


def unpack(archives: Mapping[str, Path], folder: Path) -> set[Path]:
    """Write the files of archives, each under its path below ``folder``, each whole or not at all.

    Files that are right already are left alone, and so is whatever else lies there (:func:`keep_only`).

    Returns:
        All files of the archives.

    Raises:
        NandError: the disk is full or the folder cannot be written.
    """
    written = set()
    for below, path in archives.items():
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                data, target = archive.read(name), folder / below / name
                written.add(target)
                if not (target.is_file() and target.read_bytes() == data):
                    # Not waited for until it is on the disk, as `replacing` does: there are thousands.
                    with temporary_file(target.parent, target.suffix) as temporary:
                        temporary.write_bytes(data)
                        os.replace(temporary, target)
    return written


def keep_only(folder: Path, files: Collection[Path]) -> None:
    """Remove from ``folder`` every file but these, and the folders that are empty then, itself among them."""
    with refusals(folder):
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in files:
                path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
