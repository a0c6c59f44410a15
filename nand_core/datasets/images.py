"""The one way in which pixels are read: images to upright 8-bit RGB, masks to bool arrays."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from io import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nand_core.errors import NandError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # nothing else is decoded, whatever a file is named

MASK_THRESHOLD = 127
CAMERA_BITS = (8, 10, 12, 14, 16)
LAST_LABEL = 31  # no grey value of a mask above this: it holds label numbers (VisA: 1-9), not brightness
_GREY_AND_ALPHA = "LA;16B"
_PHOTOMETRIC, _SAMPLE_FORMAT, _SIGNED = 262, 339, 2  # tags of a TIFF, and a value


def read_image(path: str | Path, file: BinaryIO | None = None, bits: int | None = 16) -> Image.Image:
    """The image as 8-bit RGB, upright (its EXIF rotation applied); of an open ``file``, if given, by that name.

    Values of 16-bit files are scaled by 255 / (2**bits - 1): cameras of 10, 12 or 14 bits save theirs in such files.
    None stands for bits that nobody has said: then values that need no more than 14 are refused. Transparency is
    dropped, which keeps every pixel as it was photographed (composing would invent a background) and is what the
    reference code of the detectors does.
    Raises NandError for a file that is missing, empty, truncated, too large, animated or not 8 or 16 bit, and for
    values that have more than ``bits``.
    """
    found = _decode(path, file)
    if isinstance(found, Image.Image):
        return _rgb(found)
    return Image.fromarray(_scaled(path, _without_alpha(found), bits)).convert("RGB")


class Measured(NamedTuple):
    """What there is to know of an image.

    Attributes:
        size: width and height, upright.
        peak: the largest value of a 16-bit one; None for 8 bits.
        pixels: sha256 of what is seen, whatever the file's format.
    """

    size: tuple[int, int]
    peak: int | None
    pixels: str


def measured(path: str | Path, file: BinaryIO | None = None) -> Measured:
    """An image decoded in full; of an open ``file``, if given, by that name. Raises NandError as :func:`read_image`."""
    found = _decode(path, file)
    if isinstance(found, Image.Image):
        return Measured(found.size, None, _digest(np.asarray(_rgb(found))))
    values = _without_alpha(found)
    return Measured((found.shape[1], found.shape[0]), int(values.max()), _digest(values))


def pixel_count(file: BinaryIO) -> int:
    """Of an image by its header; 0 where it has none that can be read."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            return picture.width * picture.height
    except Exception:  # whoever decodes it says what is wrong
        return 0


def _rgb(image: Image.Image) -> Image.Image:
    """The image itself if it is RGB: a copy of a large one would be as much memory again."""
    return image if image.mode == "RGB" else image.convert("RGB")


def _digest(values: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def bits_for(peak: int) -> int:
    """Bits of the camera whose largest value in a 16-bit file is ``peak``: 8, 10, 12, 14 or 16."""
    return next(bits for bits in CAMERA_BITS if peak < 2**bits)


def too_bright(path: str | Path, peak: int, bits: int) -> NandError:
    """The error for a value that has more bits than are said."""
    return NandError(f"{path}: has the value {peak}, {bits} bits end at {2**bits - 1}; correct dataset.bits")


def read_mask(path: str | Path, size: tuple[int, int], file: BinaryIO | None = None) -> NDArray[np.bool_]:
    """Where the defect is: bool (height, width) for an image of ``size`` (width, height), upright.

    Of an open ``file``, if given, by the name ``path``.

    Defect is what is brighter than half (127 of 255) in any channel, and in front of transparency. In two cases it
    is every value but 0: a coloured palette, and a mask of label numbers (no value above 31, no JPEG). Half of a
    16-bit mask is that of the 8, 10, 12, 14 or 16 bits that it uses.
    Raises NandError like ``read_image``, and for a mask of another size than its image.
    """
    values, threshold = _mask_values(path, size, file)
    defect: NDArray[np.bool_] = values > threshold
    return defect


def read_masks(files: Mapping[Path, BinaryIO | None], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where any of the masks of one image says that the defect is; each by its path, and open if it is given."""
    found: NDArray[np.bool_] = np.logical_or.reduce([read_mask(path, size, file) for path, file in files.items()])
    return found


def mask_fault(path: str | Path, size: tuple[int, int], file: BinaryIO | None = None) -> str:
    """Why a mask marks nothing: what there is in it, and what would count."""
    values, threshold = _mask_values(path, size, file)
    peak = int(values.max())
    return f"its largest value is {peak}, above {threshold} counts" if peak else "it is black"


def _mask_values(path: str | Path, size: tuple[int, int], file: BinaryIO | None) -> tuple[NDArray[Any], int]:
    """(height, width) values of a mask, and above which of them lies the defect."""
    picture = _decode(path, file)
    found = picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])
    if found != size:
        raise NandError(_size_problem(path, found, size))
    if not isinstance(picture, Image.Image):
        values = _in_front(picture)
        peak = int(values.max())
        return values, 0 if peak <= LAST_LABEL else (2 ** bits_for(peak) - 1) // 2
    palette = picture.mode == "P"
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    rgb = np.asarray(picture.convert("RGB"))
    values = rgb.max(axis=2)
    coloured = palette and bool((values != rgb.min(axis=2)).any())
    labels = coloured or (values.max() <= LAST_LABEL and Path(path).suffix.lower() not in (".jpg", ".jpeg"))
    return values, 0 if labels else MASK_THRESHOLD


def _decode(path: str | Path, file: BinaryIO | None = None) -> Image.Image | NDArray[np.uint16]:
    """The upright picture, or of one of 16 bits a channel its values (height, width[, 2, 3 or 4])."""
    path = Path(path)
    try:
        if (file.seek(0, SEEK_END) if file else path.stat().st_size) == 0:
            raise NandError(f"{path}: the file is empty (0 bytes); copy it again or remove it")
        with Image.open(file or path, formats=FORMATS) as picture:
            # An MPO is a JPEG with previews behind the photograph, which is its first frame.
            frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            if frames > 1:
                raise NandError(f"{path}: has {frames} frames; save one of them as an image")
            if picture.mode in ("F", "I"):
                raise NandError(f"{path}: not 8 or 16 bit (mode {picture.mode}); save it with 8 or 16")
            if strange := _strange_values(picture):
                raise NandError(f"{path}: {strange}; save it as PNG")
            if picture.mode.startswith("I;16"):
                return np.asarray(_upright(picture)).astype(np.uint16)
            if not any(";16" in form for form in _forms(picture)):
                return _upright(picture)
        return _deep_colours(path, file)
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


def _strange_values(picture: Image.Image) -> str:
    """What Pillow leaves out of account in the values of a TIFF."""
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED:
        return "its values have a sign"
    return "0 is white in it" if picture.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == 0 else ""


def _upright(picture: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(picture)
    upright.load()
    return upright


def _deep_colours(path: Path, file: BinaryIO | None) -> NDArray[np.uint16]:
    """Values of several channels of 16 bits, of which Pillow keeps a byte each: it is asked for one, then the other."""

    def half(low: bool) -> NDArray[np.uint16]:
        if file:
            file.seek(0)
        with Image.open(file or path, formats=FORMATS) as picture:
            # What is left to decode, and how, is Pillow's own state, which its types leave out.
            held: Any = picture
            held.tile = [tile._replace(args=_as_half(tile.args, low)) for tile in held.tile]
            return np.asarray(_upright(picture)).astype(np.uint16)

    found = half(low=False)
    with Image.open(file or path, formats=FORMATS) as picture:
        forms = _forms(picture)
    if _GREY_AND_ALPHA in forms:  # read as channels of 8 bits, all bytes are there
        return _joined(found[..., 0::2], found[..., 1::2])
    return _joined(found, half(low=True))


def _joined(high: NDArray[np.uint16], low: NDArray[np.uint16]) -> NDArray[np.uint16]:
    joined: NDArray[np.uint16] = np.left_shift(high, np.uint16(8)) | low
    return joined


def _forms(picture: Image.Image) -> set[str]:
    """How the values lie in the file, in Pillow's words, such as ``RGB;16B``."""
    args = [tile.args for tile in getattr(picture, "tile", ())]
    forms = [one[0] if isinstance(one, tuple) and one else one for one in args]
    return {form for form in forms if isinstance(form, str)}


def _as_half(args: Any, low: bool) -> Any:
    if isinstance(args, tuple):
        return (_as_half(args[0], low), *args[1:])
    if args == _GREY_AND_ALPHA:
        return "RGBA"
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    form, order = args[:-1], args[-1]
    return f"{form}{other[order]}" if low else args


def _in_front(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(height, width): the largest of the colours, 0 where transparency is more than half."""
    if values.ndim == 2:
        return values
    colours, alpha = _without_alpha(values), values[..., -1] if values.shape[2] in (2, 4) else None
    brightest: NDArray[np.uint16] = colours if colours.ndim == 2 else colours.max(axis=2)
    return brightest if alpha is None else np.where(alpha > 32767, brightest, np.uint16(0))


def _without_alpha(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(height, width) or (height, width, 3)."""
    if values.ndim == 2:
        return values
    return values[..., 0] if values.shape[2] == 2 else values[..., :3]


def _scaled(path: str | Path, values: NDArray[np.uint16], bits: int | None) -> NDArray[np.uint8]:
    peak = int(values.max())
    if bits is None and peak < 2**14:
        raise NandError(
            f"{path}: 16-bit values up to {peak}, of a camera with fewer bits as it seems; say how many it has "
            f"(dataset.bits, or bits={bits_for(peak)} of nand.Normality)"
        )
    white = 2 ** (bits or 16) - 1
    if peak > white:
        raise too_bright(path, peak, bits or 16)
    scaled: NDArray[np.uint8] = ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)
    return scaled


def _size_problem(path: str | Path, got: tuple[int, int], want: tuple[int, int]) -> str:
    message = f"{path}: the mask is {got[0]} x {got[1]} but its image is {want[0]} x {want[1]}"
    if got == want[::-1]:
        return f"{message}; the image is taken upright (EXIF rotation applied): turn the mask the same way"
    return f"{message}; save the mask in the image's size"
