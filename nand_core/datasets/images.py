"""The one way in which pixels are read: images to upright 8-bit RGB, masks to bool arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nand_core.errors import NandError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # nothing else is decoded, whatever a file is named

MASK_THRESHOLD = 127
LAST_LABEL = 31  # no grey value of a mask above this: it holds label numbers (VisA: 1-9), not brightness


def read_image(path: str | Path, file: BinaryIO | None = None) -> Image.Image:
    """The image as 8-bit RGB, upright (its EXIF rotation applied); of an open ``file``, if given, by that name.

    16-bit grey is scaled by 1/257. Transparency is dropped, which keeps every pixel as it was photographed
    (composing would invent a background) and is what the reference code of the detectors does.
    Raises NandError for a file that is missing, empty, truncated, too large, animated or not 8 or 16 bit.
    """
    return _eight_bit(_decode(path, file)).convert("RGB")


def read_mask(path: str | Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the defect is: bool (height, width) for an image of ``size`` (width, height), upright.

    Defect is what is brighter than 127 of 255 in any channel, and in front of transparency. In two cases it
    is every value but 0: a coloured palette, and a mask of label numbers (no value above 31, no JPEG).
    Raises NandError like ``read_image``, and for a mask of another size than its image.
    """
    picture = _decode(path)
    if picture.size != size:
        raise NandError(_size_problem(path, picture.size, size))
    palette, picture = picture.mode == "P", _eight_bit(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    rgb = np.asarray(picture.convert("RGB"))
    values = rgb.max(axis=2)
    coloured = palette and bool((values != rgb.min(axis=2)).any())
    labels = coloured or (values.max() <= LAST_LABEL and Path(path).suffix.lower() not in (".jpg", ".jpeg"))
    defect: NDArray[np.bool_] = values > (0 if labels else MASK_THRESHOLD)
    return defect


def _decode(path: str | Path, file: BinaryIO | None = None) -> Image.Image:
    path = Path(path)
    try:
        if os.stat(file.fileno() if file else path).st_size == 0:
            raise NandError(f"{path}: the file is empty (0 bytes); copy it again or remove it")
        with Image.open(file or path, formats=FORMATS) as picture:
            # An MPO is a JPEG with previews behind the photograph, which is its first frame.
            frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            if frames > 1:
                raise NandError(f"{path}: has {frames} frames; save one of them as an image")
            if picture.mode in ("F", "I"):
                raise NandError(f"{path}: not 8 or 16 bit (mode {picture.mode}); save it with 8 or 16")
            upright = ImageOps.exif_transpose(picture)
            upright.load()
            return upright
    except NandError:
        raise
    except FileNotFoundError as error:
        raise NandError(f"{path}: no such file") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # without a limit there is no such error
        raise NandError(f"{path}: has more than {limit} pixels; crop it or make it smaller") from error
    except UnidentifiedImageError as error:
        raise NandError(f"{path}: is no {', '.join(FORMATS)} image; convert it or remove it") from error
    except Exception as error:  # a broken file can make a decoder raise anything
        reason = str(error) or type(error).__name__
        raise NandError(f"{path}: cannot be read ({reason}); copy it again or remove it") from error


def _eight_bit(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture).astype(np.uint32)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _size_problem(path: str | Path, got: tuple[int, int], want: tuple[int, int]) -> str:
    message = f"{path}: the mask is {got[0]} x {got[1]} but its image is {want[0]} x {want[1]}"
    if got == want[::-1]:
        return f"{message}; the image is taken upright (EXIF rotation applied): turn the mask the same way"
    return f"{message}; save the mask in the image's size"
