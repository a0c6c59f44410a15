"""Anomaly maps that another program saved."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nand_core.artifacts.arrays import check_map, read_member, read_npy
from nand_core.artifacts.store import sha256_file
from nand_core.artifacts.verified import changed, verified
from nand_core.datasets.files import listed
from nand_core.detectors.base import Context, ImageBatch, Untrained
from nand_core.detectors.settings import ExternalSettings
from nand_core.errors import NandError
from nand_core.normality import resize_maps

SUFFIXES = (".npy", ".tiff", ".tif")


class External(Untrained):
    """Looks up the saved map of each image."""

    needs: frozenset[str] = frozenset()

    def __init__(self, settings: ExternalSettings, context: Context) -> None:
        self._settings = settings
        self._class_name = context.class_name
        self._digests = context.files
        self._saved: SavedMaps | None = None

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, H, W) float32 as saved, plus the offset; (n, 256, 256) if they were saved in several sizes.

        Raises:
            NandError: a map is missing or there twice, or is none.
        """
        if self._saved is None:
            self._saved = saved_maps(self._settings, self._class_name, self._digests)
        found = [torch.from_numpy(self._saved.read(image_id).astype(np.float32)) for image_id in batch.ids]
        if len({one.shape for one in found}) > 1:
            found = [resize_maps(one[None])[0] for one in found]
        return torch.stack(found) + self._settings.offset


class SavedMaps(Protocol):
    """The saved maps of one class."""

    def read(self, image_id: str) -> np.ndarray:
        """The map (H, W) of an image, by its path in the data folder."""

    def digests(self, ids: Iterable[str]) -> dict[str, str]:
        """What the maps of these images depend on; raises NandError unless there is exactly one for each."""


def saved_maps(
    settings: ExternalSettings, class_name: str, digests: Mapping[str, str] = MappingProxyType({})
) -> SavedMaps:
    """The maps that the settings name; with ``digests`` (:func:`external_digest`) none but those.

    Raises:
        NandError: there are none, or an archive that has changed.
    """
    path = Path(settings.maps.replace("{class}", class_name))
    if path.is_dir():
        return MapFolder(path, digests)
    if path.is_file():
        return MapArchive(path, digests)
    raise NandError(f"{path}: no saved maps for class {class_name!r}; put them there or correct the path")


def external_digest(settings: ExternalSettings, class_name: str, ids: Sequence[str]) -> dict[str, str]:
    """The digests of a class's saved maps: of the archive, ``maps``, or of each file by its path in the folder.

    Raises:
        NandError: naming what is missing, there twice, or of no test image.
    """
    return saved_maps(settings, class_name).digests(ids)


class MapArchive:
    """An .npz with ``maps`` (n, H, W) and ``ids`` (n,)."""

    def __init__(self, path: Path, digests: Mapping[str, str] = MappingProxyType({})) -> None:
        self._path = path
        file = verified(path, digests.get("maps"))
        self._sha256 = hashlib.sha256(file.getbuffer()).hexdigest()
        try:
            with zipfile.ZipFile(file) as archive:
                maps = read_member(archive, "maps", lambda header: check_map(header.shape, header.dtype, 3))
                ids = read_member(archive, "ids")
        except Exception as error:  # a broken file can make a decoder raise anything
            raise NandError(
                f"{path}: not a file of maps ({_reason(error)}); it needs the arrays maps and ids, saved by numpy.savez"
            ) from error
        if ids.shape != (len(maps),) or ids.dtype.kind != "U":
            raise NandError(
                f"{path}: maps has shape {maps.shape}, ids {ids.dtype} {ids.shape}; expected (n, H, W) and n strings"
            )
        if twice := [name for name, count in Counter(ids.tolist()).items() if count > 1]:
            raise NandError(f"{path}: more than one map for {listed(twice)}; keep one of each")
        self._maps: dict[str, np.ndarray] = dict(zip(ids.tolist(), maps, strict=True))

    def read(self, image_id: str) -> np.ndarray:
        if image_id not in self._maps:
            raise NandError(f"{self._path}: has no map for {image_id}; ids are image paths in the data folder")
        return self._maps[image_id]

    def digests(self, ids: Iterable[str]) -> dict[str, str]:
        ids = set(ids)
        if missing := sorted(ids - self._maps.keys()):
            raise NandError(f"{self._path}: has no map for {listed(missing)}; ids are image paths in the data folder")
        if extra := sorted(self._maps.keys() - ids):
            raise NandError(f"{self._path}: not test images of this class: {listed(extra)}; leave their maps out")
        return {"maps": self._sha256}


class MapFolder:
    """One .npy or float .tiff a map, where its image lies in the data folder: ``carpet/test/hole/000.npy``."""

    def __init__(self, folder: Path, digests: Mapping[str, str] = MappingProxyType({})) -> None:
        self._folder, self._digests = folder, digests

    def read(self, image_id: str) -> np.ndarray:
        path = self._file(image_id)
        file = verified(path, self._expected(path))
        try:
            values = read_npy(file) if path.suffix == ".npy" else _read_tiff(file)
        except Exception as error:  # a broken file can make a decoder raise anything
            raise NandError(f"{path}: not a readable map ({_reason(error)}); save it again") from error
        try:
            check_map(values.shape, values.dtype, 2)
        except ValueError as error:
            raise NandError(f"{path}: {error}") from error
        return values

    def digests(self, ids: Iterable[str]) -> dict[str, str]:
        files = {self._file(image_id) for image_id in ids}
        beside = (path for folder in {file.parent for file in files} for path in folder.iterdir())
        if extra := sorted({path for path in beside if path.suffix in SUFFIXES} - files):
            raise NandError(f"{self._folder}: maps of no test image of this class: {listed(extra)}; move them away")
        return {self._name(path): sha256_file(path) for path in sorted(files)}

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _expected(self, path: Path) -> str | None:
        if self._digests and self._name(path) not in self._digests:
            raise changed(path)  # a .tiff, say, in the place of an .npy
        return self._digests.get(self._name(path))

    def _file(self, image_id: str) -> Path:
        wanted = [self._folder / PurePosixPath(image_id).with_suffix(suffix) for suffix in SUFFIXES]
        found = [path for path in wanted if path.is_file()]
        if not found:
            raise NandError(f"{wanted[0]}: no such map (nor .tiff); it belongs to the image {image_id}")
        if len(found) > 1:
            raise NandError(f"{self._folder}: more than one map for {image_id}: {listed(found)}; keep one")
        return found[0]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read_tiff(file: BytesIO) -> np.ndarray:
    with Image.open(file, formats=["TIFF"]) as picture:
        if picture.mode != "F" or getattr(picture, "n_frames", 1) > 1:
            raise ValueError(f"mode {picture.mode}, a map is one frame of floats")
        return np.asarray(picture)
