"""The manifest: one row an image, with the digest of its bytes and its size; all else starts from it."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pandas as pd

from nand_core.datasets.files import listed
from nand_core.datasets.images import read_image, read_mask
from nand_core.datasets.scan import scan
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError

__all__ = ["Progress", "build_manifest", "check_images", "digest_files", "scan"]

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the step ("digest" or "check"), the images done and the images in all."""

Answer = TypeVar("Answer")


def build_manifest(settings: DatasetSettings, root: Path, progress: Progress | None = None) -> pd.DataFrame:
    """The whole manifest of the data set in ``root``: ``scan``, ``digest_files`` and ``check_images``."""
    frame = scan(settings, root)
    return check_images(digest_files(frame, root, progress), root, progress)


def digest_files(frame: pd.DataFrame, root: Path, progress: Progress | None = None) -> pd.DataFrame:
    """``frame`` with ``sha256`` and ``mask_sha256`` ("" if there is no mask) of the files' bytes."""

    def digests(path: str, mask: str) -> tuple[str, str]:
        return _sha256(Path(root, path)), _sha256(Path(root, mask)) if mask else ""

    found = _for_each("digest", digests, frame, progress)
    return frame.assign(sha256=[image for image, _ in found], mask_sha256=[mask for _, mask in found])


def check_images(frame: pd.DataFrame, root: Path, progress: Progress | None = None) -> pd.DataFrame:
    """``frame`` with ``width`` and ``height`` (upright), after decoding every image and mask of it in full.

    Raises one NandError that names up to five of the files that cannot be used. A mask without a defect is
    only logged: real data has some (four of the magnetic tiles), and no score depends on a mask.
    """
    empty: list[str] = []

    def size(path: str, mask: str) -> tuple[int, int]:
        size = read_image(Path(root, path)).size
        if mask and not read_mask(Path(root, mask), size).any():
            empty.append(mask)
        return size

    found = _for_each("check", size, frame, progress)
    if empty:
        log.warning("masks that mark no defect: %s", listed(sorted(empty)))
    return frame.assign(width=[width for width, _ in found], height=[height for _, height in found])


def _for_each(
    step: str, work: Callable[[str, str], Answer], frame: pd.DataFrame, progress: Progress | None
) -> list[Answer]:
    """``work(path, mask)`` of every row, in order, on threads; its errors are gathered into one."""

    def attempt(path: str, mask: str) -> Answer | NandError:
        try:
            return work(path, mask)
        except NandError as error:
            return error

    answers: list[Answer] = []
    errors: list[NandError] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done, answer in enumerate(pool.map(attempt, frame["path"], frame["mask"]), start=1):
            if isinstance(answer, NandError):
                errors.append(answer)
            else:
                answers.append(answer)
            if progress:
                progress(step, done, len(frame))
    if errors:
        count = f"{len(errors)} of {len(frame)} images cannot be used: " if len(errors) > 1 else ""
        raise NandError(count + listed(errors, separator="; "))
    return answers


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NandError(f"{path}: cannot be read ({error.strerror}); check that it is there") from error
