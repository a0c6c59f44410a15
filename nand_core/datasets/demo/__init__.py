"""The demo data set: generated pictures of an inspection line in MVTec AD's layout.

Five materials with four types of defect each, drawn by procedure: nothing is downloaded, and every picture
follows from the seed, its own name and the drawing code alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nand_core.datasets.demo.photograph import GOOD, MATERIALS, Materials, Photograph, Subject, draw
from nand_core.datasets.settings import DemoSettings
from nand_core.errors import NandError

DRAWING = 1
"""Number of the drawing code; one more whenever it draws other pictures than before."""

RECORD = "demo.json"

Progress = Callable[[int, int], None]


def subjects(settings: DemoSettings, materials: Materials = MATERIALS) -> Iterator[Subject]:
    """Every picture of the data set, in order, without drawing it."""
    for class_name, (_, defects) in materials.items():
        counts = [("train", GOOD, settings.train_good), ("test", GOOD, settings.test_good)]
        counts += [("test", defect, settings.per_type) for defect in defects]
        for split, defect, count in counts:
            yield from (Subject(class_name, split, defect, index) for index in range(count))


def images(settings: DemoSettings) -> Iterator[Photograph]:
    """Every picture of the data set, drawn one by one as it is asked for."""
    return (draw(subject, settings.seed, settings.image_size) for subject in subjects(settings))


def generate(root: Path, settings: DemoSettings, progress: Progress | None = None) -> None:
    """Write the data set into ``root``; ``progress`` is told (pictures done, of how many).

    A folder of the same settings is completed: what is there stays as it is. A demo folder of other settings
    is replaced, once its successor is complete. Interrupted at any moment, the next call picks up from there.

    Raises
    ------
    NandError
        If ``root`` holds anything that is no demo data set.
    """
    root = Path(root).resolve()
    record = {"generator": __name__, "drawing": DRAWING, "settings": settings.model_dump()}
    successor, former = (root.with_name(f".{root.name}.{part}") for part in ("new", "old"))
    root.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(root.parent):
        present = _record_of(root)
        replace = present not in (None, record)
        if _record_of(successor) != record:
            _discard(successor)
        elif present is None:
            # killed between the two steps of the swap below
            os.replace(successor, root)
        _complete(successor if replace else root, record, settings, progress)
        _discard(former)
        if replace:
            os.replace(root, former)
            os.replace(successor, root)
            _discard(former)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Generations into ``folder`` wait for each other; the kernel drops the lock with its process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # some network file systems cannot lock a folder: there, two runs at once draw everything twice
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _record_of(root: Path) -> dict[str, Any] | None:
    """The record of a demo folder; None if there is no folder or nothing in it."""
    if not root.exists() or (
        root.is_dir() and {entry.name for entry in root.iterdir()} <= {_temporary(root / RECORD).name}
    ):
        return None
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("generator") != __name__:
        raise NandError(
            f"{root}: not empty and no demo data set (no readable {RECORD} of one): "
            "name another folder, or empty this one"
        )
    return record


def _discard(folder: Path) -> None:
    """Delete a demo folder, its record last: half deleted, it is still known for what it is."""
    if _record_of(folder) is None:
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    shutil.rmtree(folder)


def _complete(root: Path, record: dict[str, Any], settings: DemoSettings, progress: Progress | None) -> None:
    """Write what is missing, the record first: half written, the folder is known for what it is."""
    if not (root / RECORD).exists():
        _write(root / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    todo = list(subjects(settings))
    for done, subject in enumerate(todo, start=1):
        image_path = root / subject.image_path
        mask_path = None if subject.mask_path is None else root / subject.mask_path
        if not (image_path.exists() and (mask_path is None or mask_path.exists())):
            photograph = draw(subject, settings.seed, settings.image_size)
            if mask_path is not None and photograph.mask is not None and not mask_path.exists():
                _write(mask_path, _png(photograph.mask.astype(np.uint8) * np.uint8(255)))
            if not image_path.exists():
                _write(image_path, _png(photograph.image))
        if progress is not None:
            progress(done, len(todo))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _temporary(path: Path) -> Path:
    """Where ``path`` is written before it is moved; always the same name, so that kills leave no litter."""
    return path.with_name(f".{path.name}.part")


def _write(path: Path, content: bytes) -> None:
    """Write all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _temporary(path).write_bytes(content)
    os.replace(_temporary(path), path)
