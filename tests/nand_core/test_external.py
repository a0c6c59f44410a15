"""Anomaly maps that another program saved: exactly one for every test image, or a line that names the file."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from oracle_data import Batch
from PIL import Image

from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import sha256_file
from nand_core.detectors.base import Context
from nand_core.detectors.build import build_detector, detector_digest
from nand_core.detectors.settings import ExternalSettings
from nand_core.errors import NandError
from nand_core.normality import resize_maps

CONTEXT = Context("bottle", None, None)
IDS = ["bottle/test/crack/000.png", "bottle/test/crack/001.png", "bottle/test/good/000.jpg"]


def detector(maps, **values):
    return build_detector("saved", ExternalSettings(maps=str(maps), **values), CONTEXT)


def digest(maps, ids=IDS):
    return detector_digest(ExternalSettings(maps=str(maps)), "bottle", ids)


def values(seed, shape=(4, 6)):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def save(folder, image_id, array, suffix=".npy"):
    path = (folder / image_id).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, format="TIFF")
    return path


@pytest.fixture
def folder(tmp_path):
    """Maps of all images, in three forms."""
    for seed, (image_id, suffix) in enumerate(zip(IDS, (".npy", ".tiff", ".tif"), strict=True)):
        save(tmp_path / "maps", image_id, values(seed), suffix)
    return tmp_path / "maps"


def save_archive(path, ids=("b.png", "a.png"), maps=((1.0, -2.0), (3.0, 4.0))):
    np.savez(path, ids=np.array(ids), maps=np.array(maps)[:, None])
    return path


def test_files_are_found_where_their_images_lie(folder):
    maps = detector(folder).maps(Batch([], IDS[::-1]))
    assert maps.dtype == torch.float32
    assert torch.equal(maps, torch.stack([torch.from_numpy(values(seed)) for seed in (2, 1, 0)]))


def test_maps_of_several_sizes_and_types(folder):
    other = (values(7, (300, 200)) * 100).astype(np.int64)
    save(folder, IDS[0], other)
    maps = detector(folder, offset=1).maps(Batch([], IDS[:2]))
    wanted = [torch.from_numpy(one.astype(np.float32))[None] for one in (other, values(1))]
    assert maps.shape == (2, 256, 256)
    torch.testing.assert_close(maps, torch.cat([resize_maps(one) for one in wanted]) + 1)


def test_the_digest_is_that_of_the_maps(folder):
    before = digest(folder)
    assert digest(folder, IDS[::-1]) == before
    save(folder, "cable/test/cut/000.png", values(9))
    assert digest(folder) == before, "another class's maps do not count"
    save(folder, IDS[1], values(1) + 1, ".tiff")
    assert digest(folder) != before


def test_a_missing_map(folder):
    ids = [*IDS, "bottle/test/good/001.png"]
    for use in (lambda: digest(folder, ids), lambda: detector(folder).maps(Batch([], ids))):
        with pytest.raises(NandError, match=f"good/001.npy: no such map .*belongs to the image {ids[-1]}"):
            use()
    with pytest.raises(NandError, match="nowhere: no saved maps for class 'bottle'"):
        digest(folder / "nowhere")


def test_an_extra_map(folder):
    extra = save(folder, "bottle/test/crack/002.png", values(5))
    with pytest.raises(NandError, match=f"of no test image of this class: {extra}"):
        digest(folder)


def test_two_maps_of_one_image(folder):
    save(folder, IDS[0], values(0), ".tiff")
    with pytest.raises(NandError, match=f"more than one map for {IDS[0]}: .*000.npy, .*000.tiff; keep one"):
        digest(folder)


@pytest.mark.parametrize(
    ("bad", "message"), [(np.nan, "is not finite"), (np.inf, "is not finite"), (-2, "has -2, below 0")]
)
@pytest.mark.parametrize("suffix", [".npy", ".tiff"])
def test_values_that_cannot_be_suppressed(tmp_path, bad, message, suffix):
    for seed, image_id in enumerate(IDS):
        array = values(seed)
        array[1, 2] = bad if image_id == IDS[1] else 0
        save(tmp_path, image_id, array, suffix)
    with pytest.raises(NandError, match=f"saved: the map of {IDS[1]} {message}"):
        detector(tmp_path).maps(Batch([], IDS))


@pytest.mark.parametrize(
    ("suffix", "array", "message"),
    [
        (".npy", values(0, (2, 4, 6)), r"float32 of shape \(2, 4, 6\)"),
        (".npy", np.zeros((0, 4)), r"float64 of shape \(0, 4\)"),
        (".npy", np.array([["a", "b"]]), "<U1"),
        (".npy", np.array([[None]]), "not a readable map"),
        (".tiff", np.zeros((4, 6), np.uint8), "mode L, a map is one frame of floats"),
        (".tiff", np.zeros((4, 6), np.uint16), "mode I;16, a map is one frame of floats"),
    ],
)
def test_files_that_are_no_map(tmp_path, suffix, array, message):
    path = save(tmp_path, IDS[0], array, suffix)
    with pytest.raises(NandError, match=f"{path}: .*{message}"):
        detector(tmp_path).maps(Batch([], IDS[:1]))


@pytest.mark.parametrize("suffix", [".npy", ".tiff"])
@pytest.mark.parametrize("part", [0, 0.5])
def test_a_broken_file(tmp_path, suffix, part):
    path = save(tmp_path, IDS[0], values(0, (64, 64)), suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(NandError, match=f"{path}: not a readable map"):
        detector(tmp_path).maps(Batch([], IDS[:1]))


def test_an_archive_is_read_by_id(tmp_path):
    path = save_archive(tmp_path / "bottle.npz")
    maps = detector(f"{tmp_path}/{{class}}.npz", offset=2).maps(Batch([], ["a.png", "b.png"]))
    assert maps.dtype == torch.float32 and maps.tolist() == [[[5, 6]], [[3, 0]]]
    assert digest(f"{tmp_path}/{{class}}.npz", ["a.png", "b.png"]) == {"maps": sha256_file(path)}
    with pytest.raises(NandError, match=r"saved: the map of b\.png has -2, below 0"):
        detector(path).maps(Batch([], ["a.png", "b.png"]))


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a.png", "c.png"], "no map for c.png"), (["a.png"], "not test images of this class: b.png")],
)
def test_an_archive_has_exactly_the_test_images_maps(tmp_path, ids, message):
    path = save_archive(tmp_path / "bottle.npz")
    with pytest.raises(NandError, match=f"{path}: .*{message}"):
        digest(path, ids)


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "bottle.npz"
    saved = detector(path)
    with pytest.raises(NandError, match="no saved maps"):
        saved.maps(Batch([], ["a.png"]))
    path.write_bytes(b"not an archive")
    with pytest.raises(NandError, match="not a file of maps"):
        saved.maps(Batch([], ["a.png"]))
    save_archive(path, ids=("a.png",))
    with pytest.raises(NandError, match=r"expected \(n, H, W\) and n strings"):
        saved.maps(Batch([], ["a.png"]))
    save_archive(path, ids=("a.png", "a.png"))
    with pytest.raises(NandError, match=r"more than one map for a\.png"):
        saved.maps(Batch([], ["a.png"]))
    np.savez(path, ids=np.array(["a.png"], dtype=object), maps=np.zeros((1, 2, 2)))
    with pytest.raises(NandError, match="not a file of maps"):
        saved.maps(Batch([], ["a.png"]))


def npy(array, **header) -> bytes:
    """The bytes of a .npy, whose header may say something else."""
    buffer = io.BytesIO()
    said = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **header}
    np.lib.format.write_array_header_1_0(buffer, said)
    return buffer.getvalue() + array.tobytes()


def archived(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


MAPS, NAMES = np.ones((2, 3, 4), np.float32), np.array(["a.png", "b.png"])
HUGE = (2, 10**9, 10**9)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (npy(np.full((2, 3, 4), "1.0")), "holds <U3"),
        (npy(np.full((2, 3, 4), b"1.0")), r"holds \|S3"),
        (npy(MAPS.astype(complex)), "holds complex128"),
        (npy(MAPS.astype(bool)), "holds bool"),
        (npy(MAPS.astype("M8[s]")), "holds datetime64"),
        (npy(np.zeros((2, 3, 4), "f4,f4")), "holds "),
        (npy(MAPS[:, :, :0]), r"shape \(2, 3, 0\)"),
        (npy(MAPS[:, :0]), r"shape \(2, 0, 4\)"),
        (npy(MAPS[0]), r"shape \(3, 4\)"),
        (npy(MAPS, shape=HUGE), "maps: float32 of shape .* needs 8000000000000000000 bytes, it has 96"),
        (npy(MAPS, shape=(2, -3, -4)), "maps: shape"),
        (npy(MAPS, shape=(2, 3)), "needs 24 bytes, it has 96"),
        (npy(MAPS, descr="|O"), "Python objects"),
        (npy(MAPS)[:100], "maps: "),
        (npy(MAPS)[:-1], "needs 96 bytes, it has 95"),
        (npy(MAPS).replace(b"\x01\x00", b"\x09\x00", 1), "version 9.0"),
        (b"", "maps: empty"),
        (b"x" * 200, "maps: "),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_that_is_no_maps_is_refused_before_it_is_allocated(tmp_path, maps, message, method):
    path = archived(tmp_path / "bottle.npz", method, maps=maps, ids=npy(NAMES))
    with pytest.raises(NandError, match=f"{path}: .*{message}") as caught:
        digest(path, NAMES.tolist())
    assert "\n" not in str(caught.value)
    if method == zipfile.ZIP_STORED:
        with pytest.raises(NandError, match=f"{path}: .*{message}"):
            MapFile(path)


def damaged(content: bytes) -> dict[str, bytes]:
    """An archive as disks, copies and programs leave it behind."""
    flipped = bytearray(content)
    flipped[content.index(b"\x93NUMPY") + 130] ^= 1
    method, size = bytearray(content), bytearray(content)
    for at in (content.index(b"PK\x03\x04") + 8, content.index(b"PK\x01\x02") + 10):
        struct.pack_into("<H", method, at, 97)
    struct.pack_into("<I", size, content.index(b"PK\x01\x02") + 24, 2**31)
    return {
        "half": content[: len(content) // 2],
        "end": content[:-30],
        "flipped": bytes(flipped),
        "compression": bytes(method),
        "size": bytes(size),
        "npy": npy(MAPS),
        "empty": b"",
    }


@pytest.mark.parametrize("form", damaged(b"\x93NUMPY" + b"PK\x03\x04PK\x01\x02" + b" " * 200))
def test_a_damaged_archive_is_one_line(tmp_path, form):
    path = archived(tmp_path / "bottle.npz", maps=npy(MAPS), ids=npy(NAMES))
    path.write_bytes(damaged(path.read_bytes())[form])
    with pytest.raises(NandError, match=f"{path}: not a file of maps") as caught:
        digest(path, NAMES.tolist())
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_missing_or_there_twice_is_named(tmp_path):
    path = archived(tmp_path / "bottle.npz", ids=npy(NAMES))
    with pytest.raises(NandError, match="has no array 'maps'"):
        digest(path, NAMES.tolist())
    with zipfile.ZipFile(path, "a") as archive:
        for maps in (MAPS, 2 * MAPS):
            archive.writestr("maps.npy", npy(maps))
    with pytest.raises(NandError, match="has more than one array 'maps'"):
        digest(path, NAMES.tolist())


def test_what_is_no_maps_is_not_even_read(tmp_path):
    path = archived(tmp_path / "bottle.npz", zipfile.ZIP_DEFLATED, ids=npy(NAMES),
                    maps=npy(np.zeros((2, 3, 10**5), "U8")))  # fmt: skip
    tracemalloc.start()
    try:
        with pytest.raises(NandError, match="holds <U8"):
            digest(path, NAMES.tolist())
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.ones((3, 4)), shape=(10**9, 10**9)), "needs 8000000000000000000 bytes"),
        (npy(np.ones((3, 4), complex)), "holds complex128"),
        (npy(np.ones((3, 0))), r"shape \(3, 0\)"),
        (b"PK\x03\x04" + b" " * 99, "not a readable map"),
    ],
)
def test_a_npy_is_checked_before_it_is_allocated(tmp_path, content, message):
    path = tmp_path / "bottle/test/crack/000.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(NandError, match=f"{path}: .*{message}"):
        detector(tmp_path).maps(Batch([], IDS[:1]))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_other_orders_are_read(tmp_path, save):
    maps = np.asfortranarray(np.arange(24, dtype=">f8").reshape(2, 3, 4))
    save(tmp_path / "bottle.npz", maps=maps, ids=NAMES)
    assert np.array_equal(detector(tmp_path / "bottle.npz").maps(Batch([], NAMES.tolist())).numpy(), maps)
