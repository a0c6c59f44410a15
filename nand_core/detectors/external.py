"""Detectors from elsewhere: maps saved by another program, or a detector that an installed package offers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nand_core.artifacts.store import sha256_file
from nand_core.detectors.base import Context, Detector, ImageBatch, Untrained
from nand_core.detectors.settings import ExternalSettings, PluginSettings
from nand_core.errors import NandError, nearest

ENTRY_POINTS = "nand.detectors"


class External(Untrained):
    """Looks up the saved map of each image."""

    needs: frozenset[str] = frozenset()

    def __init__(self, settings: ExternalSettings, context: Context) -> None:
        self._path = external_path(settings, context.class_name)
        self._offset = settings.offset
        self._maps: Mapping[str, np.ndarray] | None = None

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, H, W) float32 as saved, plus the offset.

        Raises:
            NandError: the file is missing or malformed, or has no map for an image.
        """
        if self._maps is None:
            self._maps = _read(self._path)
        missing = [image_id for image_id in batch.ids if image_id not in self._maps]
        if missing:
            raise NandError(
                f"{self._path}: has no map for {missing[0]}; ids are image paths in the data folder"
            )
        found = np.stack([self._maps[image_id] for image_id in batch.ids])
        return torch.from_numpy(found.astype(np.float32)) + self._offset


def external_path(settings: ExternalSettings, class_name: str) -> Path:
    """The file of saved maps of a class."""
    return Path(settings.maps.replace("{class}", class_name))


def external_digest(settings: ExternalSettings, class_name: str) -> dict[str, str]:
    """sha256 of the file of saved maps.

    Raises:
        NandError: there is no such file.
    """
    path = external_path(settings, class_name)
    if not path.is_file():
        raise NandError(f"{path}: no saved maps for class {class_name!r}; put them there or correct the path")
    return {"maps": sha256_file(path)}


def build_plugin(settings: PluginSettings, context: Context) -> Detector:
    """The detector that the named entry point makes.

    Raises:
        NandError: no installed package offers it, or it cannot be imported, or what it makes is no detector.
    """
    entry = _entry_point(settings.name)
    try:
        factory = entry.load()
    except (ImportError, AttributeError) as error:
        raise NandError(
            f"detector plugin {settings.name!r}: {entry.value} cannot be imported ({error})"
        ) from error
    detector = factory(dict(settings.options), context)
    lacking = [
        part
        for part in ("needs", "trained", "fit", "state", "load_state", "maps")
        if not hasattr(detector, part)
    ]
    if lacking:
        raise NandError(
            f"detector plugin {settings.name!r}: {entry.value} made a detector without {', '.join(lacking)}"
        )
    return detector


def plugin_digest(settings: PluginSettings) -> dict[str, str]:
    """What stands for the plugin's code in a cache key: its package and version."""
    entry = _entry_point(settings.name)
    return {"plugin": f"{entry.dist.name} {entry.dist.version} {entry.value}" if entry.dist else entry.value}


def _entry_point(name: str) -> EntryPoint:
    offered = entry_points(group=ENTRY_POINTS)
    if name not in offered.names:
        raise NandError(
            f"detector plugin: no installed package offers {name!r}{nearest(name, offered.names)}"
        )
    return offered[name]


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        raise NandError(f"{path}: no saved maps; put them there or correct the path")
    try:
        with np.load(path, allow_pickle=False) as data:
            maps, ids = data["maps"], data["ids"]
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise NandError(
            f"{path}: not a file of maps; it needs the arrays maps and ids, saved by numpy.savez"
        ) from error
    if maps.ndim != 3 or ids.shape != (len(maps),) or ids.dtype.kind != "U":
        raise NandError(
            f"{path}: maps has shape {maps.shape}, ids {ids.shape}; expected (n, H, W) and n strings"
        )
    return dict(zip(ids.tolist(), maps, strict=True))
