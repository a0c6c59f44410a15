"""Files of maps: an uncompressed npz with ``maps`` (n, H, W) float32 and ``ids`` (n,) str.

Written map by map and read by random access, so that memory does not grow with the number of images.
"""

from __future__ import annotations

import hashlib
import math
import os
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nand_core.artifacts.arrays import check_map, member_header, member_info, read_member
from nand_core.artifacts.verified import changed
from nand_core.errors import NandError

_PART = 2**22
SIZE = 256
"""Height and width of every stored map, in pixels (section 4 of the paper)."""


def write_maps(path: Path, ids: Sequence[str], batches: Iterable[np.ndarray], size: int = SIZE) -> None:
    """Write ``batches`` of maps (k, size, size) float32, in the order of ``ids``.

    Raises
    ------
    NandError
        When a batch has another shape, or holds NaN or a negative value, or the number of maps is not
        that of the ids.
    """
    shape = (len(ids), size, size)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("ids.npy", "w") as member:
            np.lib.format.write_array(member, np.asarray(ids, dtype=np.str_), allow_pickle=False)
        with archive.open("maps.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            written = 0
            for given in batches:
                batch = np.ascontiguousarray(given, dtype="<f4")
                if batch.shape[1:] != shape[1:]:
                    raise NandError(f"maps have shape {batch.shape[1:]}, expected {shape[1:]}")
                if written + len(batch) > len(ids):
                    raise NandError(f"more maps than the {len(ids)} images")
                if not (batch >= 0).all():
                    bad = ids[written + int((~(batch >= 0)).any(axis=(1, 2)).argmax())]
                    raise NandError(f"the map of {bad} has NaN or negative values; Eq. 6 needs maps >= 0")
                member.write(batch.tobytes())
                written += len(batch)
    if written != len(ids):
        raise NandError(f"{written} maps for {len(ids)} images")


class MapFile:
    """Random access to a file of maps: ``file[i]``, ``file[a:b]``, ``len(file)``, ``file.ids``.

    It is opened once: what takes its place meanwhile is not read. Where its bytes have to be those that somebody
    hashed, ``sha256`` is theirs: :meth:`batches` and :meth:`check` compare it.
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self.path = Path(path)
        self._sha256 = sha256
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._file)
            with os.fdopen(os.dup(self._file), "rb") as file, zipfile.ZipFile(file) as archive:
                ids = read_member(archive, "ids")
                info = member_info(archive, "maps")
                if info.compress_type != zipfile.ZIP_STORED:
                    raise NandError(f"{path}: maps are compressed; write them with numpy.savez")
                with archive.open(info) as member:
                    header = member_header(member, info)
            check_map(header.shape, header.dtype, 3)
            if header.fortran or ids.dtype.kind != "U" or ids.shape != header.shape[:1]:
                raise NandError(
                    f"{path}: maps of shape {header.shape} and type {header.dtype} do not fit {ids.size} ids"
                )
            name, extra = np.frombuffer(os.pread(self._file, 4, info.header_offset + 26), "<u2").tolist()
            self.ids: tuple[str, ...] = tuple(ids.tolist())
            self._offset = info.header_offset + 30 + name + extra + header.length
            self._dtype, self._shape = header.dtype, header.shape[1:]
            self._bytes = header.dtype.itemsize * self._shape[0] * self._shape[1]
            if self._offset + len(self) * self._bytes > os.fstat(self._file).st_size:
                raise NandError(f"{path}: ends before its last map; remove it and run again")
        except NandError:
            raise
        except Exception as error:  # a broken file can make a decoder raise anything
            raise NandError(f"{path}: not a readable file of maps ({error}); remove it and run again") from error

    @property
    def version(self) -> tuple[int, ...]:
        """Another one as soon as somebody has written to the file."""
        found = os.fstat(self._file)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int | slice) -> np.ndarray:
        """One map (H, W), or those of a slice without a step (k, H, W)."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise IndexError("maps are read one after the other: a slice without a step")
            return self._read(start, max(stop - start, 0))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        one: np.ndarray = self._read(index % len(self), 1)[0]
        return one

    def _read(self, start: int, count: int) -> np.ndarray:
        # Read, not mapped: pages of a mapped file would stay in memory, and peak memory grow with the file.
        data = np.empty((count, *self._shape), self._dtype)
        offset, left = self._offset + start * self._bytes, data.reshape(-1).view(np.uint8).data
        while left:
            got = os.preadv(self._file, [left], offset)
            if not got:
                raise NandError(f"{self.path}: was cut off while it was read; run again")
            offset, left = offset + got, left[got:]
        return data

    def batches(self, size: int = 4) -> Iterator[np.ndarray]:
        """All maps in order, ``size`` at a time, with the digest of the whole file taken on the way.

        Raises:
            NandError: after the last one, these were not the bytes that were hashed.
        """
        total = hashlib.sha256()
        self._hash(total, 0, self._offset)
        for start in range(0, len(self), size):
            part = self[start : start + size]
            if self._sha256 is not None:
                total.update(part.data)
            yield part
        self._hash(total, self._offset + len(self) * self._bytes)
        self._compare(total.hexdigest())

    def check(self) -> None:
        """Read the whole file, which is still the one that was opened.

        Raises:
            NandError: these are not the bytes that were hashed.
        """
        total = hashlib.sha256()
        self._hash(total, 0)
        self._compare(total.hexdigest())

    def _hash(self, total: hashlib._Hash, start: int, stop: float = math.inf) -> None:
        while self._sha256 is not None and start < stop:
            part = os.pread(self._file, int(min(_PART, stop - start)), start)
            if not part:
                return
            total.update(part)
            start += len(part)

    def _compare(self, digest: str) -> None:
        if self._sha256 not in (None, digest):
            raise changed(self.path)
