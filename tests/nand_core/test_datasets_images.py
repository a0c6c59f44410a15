"""Every way in which pixels come: read rightly, or refused in one line that names the file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from nand_core.datasets import images
from nand_core.datasets.images import bits_for, mask_fault, measured, read_image, read_mask, read_masks
from nand_core.errors import NandError

SIZE = (6, 4)  # width, height


def _saved(picture: Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def _pixels(path: Path) -> np.ndarray:
    picture = read_image(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def _refused(path: Path, *words: str) -> None:
    with pytest.raises(NandError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), ";" if "no such" not in message else "", *words):
        assert word in message


def _gradient(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


@pytest.mark.parametrize("ext", ["png", "bmp", "tif", "tiff", "PNG"])
def test_lossless_rgb_comes_back_unchanged(tmp_path, ext):
    rgb = _gradient()
    assert np.array_equal(_pixels(_saved(Image.fromarray(rgb), tmp_path / f"a.{ext}")), rgb)


@pytest.mark.parametrize(("ext", "options"), [("jpg", {"quality": 100}), ("webp", {"lossless": True})])
def test_jpeg_and_webp_are_read(tmp_path, ext, options):
    rgb = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    got = _pixels(_saved(Image.fromarray(rgb), tmp_path / f"a.{ext}", **options))
    assert np.abs(got.astype(int) - rgb).max() <= 3


def test_eight_bit_grey_fills_three_channels(tmp_path):
    grey = _gradient()[..., 0]
    assert np.array_equal(_pixels(_saved(Image.fromarray(grey), tmp_path / "a.png")), np.dstack([grey] * 3))


def test_one_bit_is_black_and_white(tmp_path):
    bits = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    path = _saved(Image.fromarray(bits).convert("1"), tmp_path / "a.png")
    assert np.array_equal(_pixels(path)[..., 0], bits)


@pytest.mark.parametrize("ext", ["png", "tif"])
@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.integers(0, 65535), min_size=4, max_size=4))
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path_factory, ext, values):
    path = tmp_path_factory.getbasetemp() / f"deep.{ext}"
    deep = np.array(values, np.uint16).reshape(2, 2)
    _saved(Image.fromarray(deep), path)
    assert np.array_equal(_pixels(path)[..., 1], np.round(deep / 257).astype(np.uint8))


def test_big_endian_sixteen_bit_tiff(tmp_path):
    deep = np.array([[0, 257], [32896, 65535]], ">u2")
    path = tmp_path / "a.tif"
    path.write_bytes(_tiff(deep, bits=16))
    assert _pixels(path)[..., 0].tolist() == [[0, 1], [128, 255]]


def test_sixteen_bit_rgb_keeps_the_high_byte(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(_png(np.array([[[65535, 0x1234, 0]]], ">u2")))
    assert _pixels(path)[0, 0].tolist() == [255, 0x12, 0]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_the_values_of_a_camera_of_fewer_bits_keep_their_range(tmp_path, bits):
    white = 2**bits - 1
    deep = np.linspace(0, white, 24).astype(np.uint16).reshape(SIZE[::-1])
    path = _saved(Image.fromarray(deep), tmp_path / "a.png")
    wanted = np.round(deep / white * 255)
    assert np.abs(np.asarray(read_image(path, bits=bits))[..., 0] - wanted).max() <= 1
    assert measured(path)[:2] == (SIZE, white) and bits_for(white) == bits and bits_for(white + 1) > bits
    with pytest.raises(NandError, match=rf"a\.png: 16-bit values up to {white}, .*dataset\.bits, or bits={bits}"):
        read_image(path, bits=None)
    if bits > 8:
        with pytest.raises(NandError, match=rf"a\.png: has the value {white}, 8 bits end at 255; correct dataset.bits"):
            read_image(path, bits=8)


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_every_channel_of_a_deep_colour_png_keeps_its_range(tmp_path, colour):
    channels = {2: 3, 4: 2, 6: 4}[colour]
    deep = np.random.default_rng(0).integers(0, 4096, (*SIZE[::-1], channels)).astype(">u2")
    deep[0, 0] = 4095
    path = tmp_path / "a.png"
    path.write_bytes(_png(deep, colour))
    seen = deep[..., :3] if channels > 2 else np.repeat(deep[..., :1], 3, axis=2)
    assert measured(path)[:2] == (SIZE, 4095)
    assert np.abs(np.asarray(read_image(path, bits=12)) - np.round(seen / 4095 * 255)).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_channel_of_a_deep_colour_tiff_keeps_its_range(tmp_path, order):
    deep = np.random.default_rng(0).integers(0, 4096, (*SIZE[::-1], 3)).astype(f"{order}u2")
    path = tmp_path / "a.tif"
    path.write_bytes(_colour_tiff(deep, order))
    assert measured(path)[:2] == (SIZE, deep.max())
    with path.open("rb") as file:
        assert np.abs(np.asarray(read_image("b", file, 12)) - np.round(deep / 4095 * 255)).max() <= 1


def test_values_of_a_tiff_that_would_be_read_as_others_are_refused(tmp_path):
    path = _saved(Image.new("L", (2, 1)), tmp_path / "signed.tif", tiffinfo={339: 2})
    with pytest.raises(NandError, match=r"signed\.tif: its values have a sign; save it as PNG"):
        read_image(path)
    path = _saved(Image.fromarray(np.array([[0, 9]], np.uint16)), tmp_path / "white.tif")
    tag = [struct.pack("<HHIHH", 262, 3, 1, white, 0) for white in (1, 0)]
    path.write_bytes(path.read_bytes().replace(*tag))
    with pytest.raises(NandError, match=r"white\.tif: 0 is white in it; save it as PNG"):
        read_mask(path, (2, 1))


def test_eight_bits_have_no_peak_and_are_read_as_ever(tmp_path):
    path = _saved(Image.fromarray(_gradient()), tmp_path / "a.png")
    assert measured(path)[:2] == (SIZE, None)
    assert np.array_equal(np.asarray(read_image(path, bits=None)), np.asarray(read_image(path)))


@pytest.mark.parametrize("transparent", [False, True])
def test_palette(tmp_path, transparent):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L").convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 0])
    path = _saved(picture, tmp_path / "a.png", **({"transparency": 1} if transparent else {}))
    assert _pixels(path).tolist() == [[[10, 20, 30], [200, 100, 0]], [[200, 100, 0], [10, 20, 30]]]


def test_alpha_is_dropped_and_the_photographed_pixel_stays(tmp_path):
    rgba = np.dstack([_gradient(), np.linspace(0, 255, 24, dtype=np.uint8).reshape(4, 6)])
    assert np.array_equal(_pixels(_saved(Image.fromarray(rgba), tmp_path / "a.png")), rgba[..., :3])


def test_cmyk(tmp_path):
    path = _saved(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), tmp_path / "a.tif")
    assert _pixels(path)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_exif_rotation_gives_the_upright_image(tmp_path, mode):
    rows = np.arange(8, dtype=np.uint16).reshape(2, 4) * 257 * 30
    picture = Image.fromarray(rows) if mode == "I;16" else Image.fromarray((rows // 257).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the sensor lay on its side: turn clockwise to see it upright
    path = _saved(picture, tmp_path / "a.png", exif=exif)
    assert read_image(path).size == (2, 4)
    assert np.array_equal(_pixels(path)[..., 0], np.rot90(rows // 257, -1))


def test_an_mpo_is_its_photograph(tmp_path):
    first, preview = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    path = _saved(first, tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert read_image(path).size == (16, 16)
    assert _pixels(path)[0, 0, 0] > 200


def test_a_jpeg_named_png_is_read(tmp_path):
    assert read_image(_saved(Image.new("RGB", SIZE), tmp_path / "a.png", format="JPEG")).size == SIZE


def test_missing_and_empty_and_folder(tmp_path):
    _refused(tmp_path / "none.png", "no such file")
    (tmp_path / "empty.png").touch()
    _refused(tmp_path / "empty.png", "0 bytes")
    (tmp_path / "folder.png").mkdir()
    _refused(tmp_path / "folder.png")


def test_text_and_foreign_formats(tmp_path):
    (tmp_path / "a.png").write_text("no image at all")
    _refused(tmp_path / "a.png", "convert")
    _refused(_saved(Image.new("L", SIZE), tmp_path / "b.png", format="GIF"), "convert")


@pytest.mark.parametrize("ext", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("part", [0.95, 0.5])
def test_truncated(tmp_path, ext, part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = _saved(Image.fromarray(noise), tmp_path / f"a.{ext}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    _refused(path)


def test_a_flipped_byte_is_noticed(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = _saved(Image.fromarray(noise), tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    _refused(path, "copy it again")


def test_decompression_bomb(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_frame(struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0), b"\0" * 100))
    _refused(path, "pixels")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_float_and_32_bit_tiff(tmp_path, mode):
    _refused(_saved(Image.new(mode, SIZE), tmp_path / "a.tif"), "8 or 16 bit", mode)


@pytest.mark.parametrize("ext", ["png", "webp", "tif"])
def test_several_frames(tmp_path, ext):
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue", "green")]
    path = _saved(frames[0], tmp_path / f"a.{ext}", save_all=True, append_images=frames[1:])
    _refused(path, "3 frames")


# ---- masks


def _mask(tmp_path: Path, values, ext: str = "png") -> list[list[bool]]:
    array = np.asarray(values, np.uint8)
    path = _saved(Image.fromarray(array), tmp_path / f"m.{ext}")
    got = read_mask(path, array.shape[1::-1])
    assert got.dtype == bool
    return got.tolist()


def test_mask_threshold_lies_above_127(tmp_path):
    assert _mask(tmp_path, [[0, 127, 128, 255]]) == [[False, False, True, True]]


def test_mask_of_label_numbers_is_every_label(tmp_path):
    assert _mask(tmp_path, [[0, 1, 2, 9]]) == [[False, True, True, True]]


def test_faint_grey_is_neither_label_nor_defect(tmp_path):
    assert _mask(tmp_path, [[0, 1, images.LAST_LABEL + 1]]) == [[False, False, False]]


def test_black_jpeg_noise_is_no_label(tmp_path):
    assert not np.any(_mask(tmp_path, np.full((16, 16), 2), "jpg"))


def test_black_mask_is_allowed(tmp_path):
    assert not np.any(_mask(tmp_path, np.zeros((3, 3))))


def test_red_mask_and_palette_mask(tmp_path):
    red = np.zeros((1, 2, 3), np.uint8)
    red[0, 1] = (255, 0, 0)
    assert _mask(tmp_path, red) == [[False, True]]
    labels = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    labels.putpalette([0, 0, 0, 128, 0, 0, 64, 0, 0])
    path = _saved(labels, tmp_path / "p.png")
    assert read_mask(path, (3, 1)).tolist() == [[False, True, True]]


def test_mask_drawn_with_transparency(tmp_path):
    rgba = np.full((1, 2, 4), 255, np.uint8)
    rgba[0, 0, 3] = 0
    assert _mask(tmp_path, rgba) == [[False, True]]


@pytest.mark.parametrize("mode", ["1", "I;16"])
def test_mask_of_another_depth(tmp_path, mode):
    grey = np.array([[0, 255]], np.uint8)
    picture = (
        Image.fromarray(grey).convert("1") if mode == "1" else Image.fromarray(grey.astype(np.uint16) * 257)
    )
    assert read_mask(_saved(picture, tmp_path / "m.png"), (2, 1)).tolist() == [[False, True]]


@pytest.mark.parametrize("white", [1, 9, 255, 1023, 4095, 65535])
def test_a_deep_mask_is_label_numbers_or_half_of_its_bits(tmp_path, white):
    grey = np.array([[0, white]], np.uint16)
    assert read_mask(_saved(Image.fromarray(grey), tmp_path / "m.png"), (2, 1)).tolist() == [[False, True]]


def test_masks_of_one_image_hold_together(tmp_path):
    paths = [_saved(Image.fromarray(np.array([one], np.uint8)), tmp_path / f"{i}.png")
             for i, one in enumerate([[255, 0, 0], [0, 0, 255]])]  # fmt: skip
    assert read_masks(dict.fromkeys(paths), (3, 1)).tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.array([[0, 40]], np.uint8), "its largest value is 40, above 127 counts"),
        (np.array([[0, 40]], np.uint16), "its largest value is 40, above 127 counts"),
        (np.array([[0, 20000]], np.uint16), "its largest value is 20000, above 32767 counts"),
        (np.zeros((1, 2), np.uint8), "it is black"),
    ],
)
def test_a_mask_that_marks_nothing_says_why(tmp_path, values, why):
    path = _saved(Image.fromarray(values), tmp_path / "m.png")
    assert not read_mask(path, (2, 1)).any() and mask_fault(path, (2, 1)) == why


def test_mask_of_another_size_names_both(tmp_path):
    path = _saved(Image.new("L", (5, 4)), tmp_path / "m.png")
    with pytest.raises(NandError, match=r"m\.png.*5 x 4.*6 x 4"):
        read_mask(path, SIZE)


def test_mask_in_the_sensors_frame_gets_a_hint(tmp_path):
    path = _saved(Image.new("L", (6, 4)), tmp_path / "m.png")
    with pytest.raises(NandError, match=r"6 x 4.*4 x 6.*EXIF.*turn the mask"):
        read_mask(path, (4, 6))


def _colour_tiff(values: np.ndarray, order: str) -> bytes:
    height, width, channels = values.shape
    data, at = values.tobytes(), 8 + values.nbytes
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, at), (259, 4, 1, 1), (262, 4, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 4, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data))]
    entries = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    depths = struct.pack(f"{order}{channels}H", *[16] * channels)
    begin = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, at + len(depths))
    return begin + data + depths + directory


def _png(values: np.ndarray, colour: int = 2) -> bytes:
    """A 16-bit PNG of several channels, by default RGB (Pillow cannot write one)."""
    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return _png_frame(header, zlib.compress(b"".join(b"\0" + row.tobytes() for row in values)))


def _png_frame(header: bytes, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _tiff(values: np.ndarray, bits: int) -> bytes:
    """An uncompressed big-endian grey TIFF."""
    height, width = values.shape
    data = values.tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, len(data)))
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    return struct.pack(">2sHI", b"MM", 42, 8 + len(data)) + data + directory
