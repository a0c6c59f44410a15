"""The manifest: one row an image, with the digest of its bytes and its size; all else starts from it."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pandas as pd

from nand_core.artifacts.verified import verified
from nand_core.datasets.files import listed
from nand_core.datasets.images import Measured, bits_for, mask_fault, measured, pixel_count, read_masks, too_bright
from nand_core.datasets.layout import joined_masks, mask_paths
from nand_core.datasets.scan import scan
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError

__all__ = ["Progress", "build_manifest", "check_images", "digest_files", "scan"]

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the step ("digest" or "check"), the images done and the images in all."""

_LARGE = 2**24
"""Pixels of an image beyond which no other such one is decoded beside it: each takes hundreds of megabytes."""

Answer = TypeVar("Answer")


def build_manifest(settings: DatasetSettings, root: Path, progress: Progress | None = None) -> pd.DataFrame:
    """The whole manifest of the data set in ``root``: ``scan``, ``digest_files``, ``check_images``, ``with_bits``."""
    frame = scan(settings, root)
    return with_bits(check_images(digest_files(frame, root, progress), root, progress), settings, root)


def digest_files(frame: pd.DataFrame, root: Path, progress: Progress | None = None) -> pd.DataFrame:
    """``frame`` with ``sha256`` and ``mask_sha256`` ("" if there is no mask) of the files' bytes."""

    def digests(path: str, mask: str) -> tuple[str, str]:
        return _sha256(Path(root, path)), joined_masks([_sha256(Path(root, one)) for one in mask_paths(mask)])

    found = _for_each("digest", digests, frame, progress)
    return frame.assign(sha256=[image for image, _ in found], mask_sha256=[mask for _, mask in found])


def check_images(frame: pd.DataFrame, root: Path, progress: Progress | None = None) -> pd.DataFrame:
    """``frame`` with ``width``, ``height`` (upright) and ``pixels``, after decoding every image and mask in full.

    What is decoded are the bytes whose digests ``frame`` has (:func:`digest_files`).
    ``pixels`` is a digest of what is seen (:func:`duplicates`; :func:`with_bits` leaves it out). Where an image has 16
    bits, with a column ``peak`` of their largest values too, -1 for 8 bits (:func:`with_bits`).
    Raises one NandError that names up to five of the files that cannot be used. A mask without a defect is
    only logged: real data has some (four of the magnetic tiles), and no score depends on a mask.
    """
    empty: list[str] = []
    alone = threading.Lock()
    sha256, mask_sha256 = (dict(zip(frame["path"], frame[name], strict=True)) for name in ("sha256", "mask_sha256"))

    def measure(path: str, mask: str) -> Measured:
        file = verified(Path(root, path), sha256[path])
        with alone if pixel_count(file) > _LARGE else nullcontext():
            return decode(path, mask, file)

    def decode(path: str, mask: str, file: BinaryIO) -> Measured:
        found = measured(Path(root, path), file)
        masks = read_files(root, mask, mask_sha256[path])
        if masks and not read_masks(masks, found.size).any():
            faults = (mask_fault(one, found.size, file) for one, file in masks.items())
            empty.extend(f"{one} ({fault})" for one, fault in zip(mask_paths(mask), faults, strict=True))
        return found

    found = _for_each("check", measure, frame, progress)
    if empty:
        log.warning("masks that mark no defect: %s", listed(sorted(empty)))
    frame = frame.assign(width=[one.size[0] for one in found], height=[one.size[1] for one in found])
    frame = frame.assign(pixels=[one.pixels for one in found])
    peaks = [-1 if one.peak is None else one.peak for one in found]
    return frame.assign(peak=peaks) if max(peaks, default=-1) >= 0 else frame


def read_files(root: Path, masks: str, sha256: str) -> dict[Path, BinaryIO | None]:
    """The masks of a row of the manifest by their paths, read; NandError for one that is not the one it hashed."""
    named = zip(mask_paths(masks), mask_paths(sha256), strict=True)
    return {Path(root, one): verified(Path(root, one), digest) for one, digest in named}


def with_bits(frame: pd.DataFrame, settings: DatasetSettings, root: Path) -> pd.DataFrame:
    """``frame`` with ``bits`` in the place of ``peak``, if it has that: how many the values of its files use.

    Those of all 16-bit images together: ``dataset.bits``, or the fewest of 8, 10, 12, 14 and 16 that hold every value.
    It is logged, and so is a class that seems to have fewer than the data set. Raises NandError for a value that has
    more than ``dataset.bits``.
    """
    frame = frame.drop(columns="pixels", errors="ignore")
    if "peak" not in frame:
        return frame
    peaks = frame["peak"].fillna(-1).to_numpy(dtype=np.int64)
    brightest, deep = int(peaks.argmax()), peaks >= 0
    peak = int(peaks[brightest])
    bits = settings.bits or bits_for(peak)
    if peak >= 2**bits:
        raise too_bright(Path(root, str(frame["path"].iloc[brightest])), peak, bits)
    said = "as dataset.bits says" if settings.bits else "dataset.bits would say another number"
    log.warning("%d of %d images have 16 bits; values up to %d: %d bits, %s", deep.sum(), len(frame), peak, bits, said)
    for name in sorted(set(frame["class"][deep])):
        own = int(peaks[deep & (frame["class"] == name).to_numpy()].max())
        if bits_for(own) < bits_for(peak):
            log.warning("class %s: its 16-bit values end at %d, which %d bits hold", name, own, bits_for(own))
    return frame.drop(columns="peak").assign(bits=np.where(deep, bits, 8))


def deep_bits(manifest: pd.DataFrame) -> int | None:
    """How many bits count in the data set's 16-bit images; None where it has none."""
    return int(manifest["bits"].max()) if "bits" in manifest else None


def duplicates(frame: pd.DataFrame) -> list[str]:
    """What the images say that are in the data set more than once, by content, as different things; a line each kind.

    Args:
        frame: with the columns of :func:`digest_files`, or of :func:`check_images` too: then images of the same pixels
            in another file are found as well.
    """
    same = "pixels" if "pixels" in frame else "sha256"
    pairs: dict[str, list[str]] = {}
    for _, rows in frame[frame.duplicated(same, keep=False)].groupby(same, sort=False):
        what = rows["split"].where(rows["split"] == "train", rows["type"])
        kinds = sorted({f"{name}: {kind}" for name, kind in zip(rows["class"], what, strict=True)})
        if len(kinds) > 1:
            pairs.setdefault(" and ".join(kinds), []).append(" = ".join(rows["path"]))
    return [f"identical images in {kinds}: {listed(paths)}" for kinds, paths in sorted(pairs.items())]


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
