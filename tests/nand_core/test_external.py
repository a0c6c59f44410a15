"""Anomaly maps that another program saved: exactly one for every test image, or a line that names the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracle_data import Batch
from PIL import Image

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
    return detector_digest(ExternalSettings(maps=str(maps)), "bottle", ids)["maps"]


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
    assert digest(f"{tmp_path}/{{class}}.npz", ["a.png", "b.png"]) == sha256_file(path)
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
