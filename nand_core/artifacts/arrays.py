"""Arrays in foreign .npy and .npz files: what a header says is checked before anything is allocated for it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import numpy as np

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DEFLATED_MOST = 1032
"""A byte that zlib has deflated holds no more than so many."""


@dataclass(frozen=True)
class ArrayHeader:
    """What a .npy says of itself: the array, and how many bytes stand before it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    length: int


def read_header(file: IO[bytes], size: int) -> ArrayHeader:
    """The header of a .npy of ``size`` bytes, at whose begin ``file`` stands.

    Raises:
        ValueError: it is none, or the array is one of Python objects or does not fit the size.
    """
    if size < 10:
        raise ValueError("cut off within its header" if size else "empty")
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"version {version[0]}.{version[1]} of numpy's format, 1.0 or 2.0 expected")
    shape, fortran, dtype = _READERS[version](file)
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which is not read")
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    header = ArrayHeader(shape, dtype, fortran, file.tell())
    held, wanted = size - header.length, math.prod(shape) * dtype.itemsize
    if held != wanted:
        raise ValueError(f"{dtype} of shape {shape} needs {wanted} bytes, it has {held}")
    return header


def read_npy(file: BytesIO) -> np.ndarray:
    """The array of a .npy.

    Raises:
        ValueError: as :func:`read_header`.
    """
    header = read_header(file, len(file.getbuffer()))
    return _array(header, file.read())


def member_info(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Where the array ``name`` of an .npz lies.

    Raises:
        ValueError: it has none of this name, or one that zipfile cannot read, or that says to be larger than it can be.
    """
    found = [info for info in archive.infolist() if info.filename == f"{name}.npy"]
    if len(found) != 1:
        raise ValueError(f"has {'more than one' if found else 'no'} array {name!r}")
    (info,) = found
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by a method that numpy does not use ({info.compress_type})")
    most = info.compress_size * (1 if info.compress_type == zipfile.ZIP_STORED else _DEFLATED_MOST)
    if info.file_size > most:
        raise ValueError(f"{name} says to have {info.file_size} bytes, {info.compress_size} are there")
    return info


def member_header(member: IO[bytes], info: zipfile.ZipInfo) -> ArrayHeader:
    """As :func:`read_header`, of an opened member."""
    try:
        return read_header(member, info.file_size)
    except ValueError as error:
        raise ValueError(f"{info.filename.removesuffix('.npy')}: {error}") from error


def read_member(
    archive: zipfile.ZipFile, name: str, check: Callable[[ArrayHeader], None] = lambda _: None
) -> np.ndarray:
    """The array ``name`` of an .npz, its checksum compared; ``check`` sees its header before more is read.

    Raises:
        Exception: as :func:`member_info`, :func:`read_header` and ``check``, and whatever zipfile and zlib raise for
            damage.
    """
    info = member_info(archive, name)
    with archive.open(info) as member:
        header = member_header(member, info)
        check(header)
        return _array(header, member.read())


def _array(header: ArrayHeader, data: bytes) -> np.ndarray:
    flat = np.frombuffer(data, header.dtype)
    return flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)


def check_map(shape: tuple[int, ...], dtype: np.dtype, dimensions: int) -> None:
    """Refuse what is no array of maps.

    Raises:
        ValueError: it has not ``dimensions`` dimensions, no pixel, or other values than real numbers.
    """
    wanted = {2: "(H, W)", 3: "(n, H, W)"}[dimensions]
    if len(shape) != dimensions or 0 in shape[-2:] or dtype.kind not in "fiu":
        raise ValueError(f"holds {dtype} of shape {shape}; expected {wanted} of real numbers, H and W from 1 on")
