"""Digests and sizes of the manifest's files; broken files are reported together."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from nand_core.datasets import manifest
from nand_core.datasets.images import measured
from nand_core.datasets.layout import mask_paths
from nand_core.datasets.manifest import (
    build_manifest,
    check_images,
    deep_bits,
    digest_files,
    duplicates,
    scan,
)
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError

SETTINGS = DatasetSettings(kind="folder", root="unused")


@pytest.fixture
def root(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for folder, size in {
        "train/good": (8, 6),
        "test/good": (6, 8),
        "test/hole": (9, 5),
        "test/cut": (5, 5),
    }.items():
        for i in range(4):
            path = tmp_path / "carpet" / folder / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
            if "hole" in folder or "cut" in folder:
                mask = tmp_path / "carpet/ground_truth" / folder.removeprefix("test/") / f"{i}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", size, 255).save(mask)
    return tmp_path


def test_the_whole_manifest(root):
    frame = build_manifest(SETTINGS, root)
    assert list(frame.columns) == [
        *("class", "type", "group", "split", "path", "mask"),
        *("sha256", "mask_sha256", "width", "height"),
    ]
    for row in frame.itertuples():
        assert row.sha256 == hashlib.sha256((root / row.path).read_bytes()).hexdigest()
        assert row.mask_sha256 == (
            hashlib.sha256((root / row.mask).read_bytes()).hexdigest() if row.mask else ""
        )
        with Image.open(root / row.path) as image:
            assert image.size == (row.width, row.height)
    assert frame["mask"].ne("").sum() == 8


def test_it_survives_parquet(root, tmp_path):
    frame = build_manifest(SETTINGS, root)
    frame.to_parquet(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "manifest.parquet"), frame)


def test_twice_is_the_same_and_the_frame_given_stays(root):
    frame = scan(SETTINGS, root)
    before = frame.copy()
    pd.testing.assert_frame_equal(build_manifest(SETTINGS, root), build_manifest(SETTINGS, root))
    hashed = digest_files(frame, root)
    digests = hashed.copy()
    check_images(hashed, root)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(hashed, digests)


def test_a_part_of_the_rows_gives_that_part_of_the_sizes(root):
    frame = digest_files(scan(SETTINGS, root), root)
    part = frame[frame["type"] == "hole"]
    whole = check_images(frame, root)
    pd.testing.assert_frame_equal(check_images(part, root), whole.loc[part.index])
    assert check_images(frame.iloc[:0], root).columns[-3:].tolist() == ["width", "height", "pixels"]


def test_size_is_that_after_rotation(root):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (8, 6)).save(root / "carpet/train/good/0.png", exif=exif)
    frame = build_manifest(SETTINGS, root).set_index("path")
    assert frame.loc["carpet/train/good/0.png", ["width", "height"]].tolist() == [6, 8]


def test_an_edited_file_has_another_digest(root):
    first = digest_files(scan(SETTINGS, root), root)
    Image.new("RGB", (8, 6)).save(root / "carpet/train/good/0.png")
    Image.new("L", (9, 5), 200).save(root / "carpet/ground_truth/hole/0_mask.png")
    second = digest_files(scan(SETTINGS, root), root)
    changed = second[(first[["sha256", "mask_sha256"]] != second[["sha256", "mask_sha256"]]).any(axis=1)]
    assert set(changed["path"]) == {"carpet/train/good/0.png", "carpet/test/hole/0.png"}


def test_progress_counts_every_image_of_both_steps(root):
    calls: list[tuple[str, int, int]] = []
    build_manifest(SETTINGS, root, progress=lambda *call: calls.append(call))
    assert calls == [(step, done, 16) for step in ("digest", "check") for done in range(1, 17)]


def test_one_bad_file_is_named(root):
    (root / "carpet/test/hole/2.png").write_text("oops")
    with pytest.raises(NandError, match=r"^\S*carpet/test/hole/2\.png: is no PNG"):
        build_manifest(SETTINGS, root)


def test_up_to_five_bad_files_are_named_in_one_line(root):
    for i in range(4):
        (root / f"carpet/train/good/{i}.png").write_bytes(b"")
        Image.new("L", (2, 2)).save(root / f"carpet/ground_truth/hole/{i}_mask.png")
    with pytest.raises(NandError) as caught:
        build_manifest(SETTINGS, root)
    message = str(caught.value)
    assert message.startswith("8 of 16 images cannot be used: ")
    assert "\n" not in message and message.endswith("and 3 more")
    assert message.count("0 bytes") + message.count("2 x 2") == 5


def test_files_that_vanish_between_the_steps(root):
    frame = scan(SETTINGS, root)
    hashed = digest_files(frame, root)
    (root / "carpet/test/hole/0.png").unlink()
    with pytest.raises(NandError, match=r"hole/0\.png"):
        digest_files(frame, root)
    with pytest.raises(NandError, match=r"hole/0\.png: no such file"):
        check_images(hashed, root)


def test_masks_without_a_defect_are_logged(root, caplog):
    Image.new("L", (9, 5)).save(root / "carpet/ground_truth/hole/3_mask.png")
    with caplog.at_level(logging.WARNING):
        build_manifest(SETTINGS, root)
    assert "carpet/ground_truth/hole/3_mask.png" in caplog.text
    assert "hole/2_mask.png" not in caplog.text


def deep(path: Path, top: int, least: int = 0) -> None:
    """A 16-bit image in the place of another, with values from ``least`` to ``top``."""
    with Image.open(path) as picture:
        width, height = picture.size
    Image.fromarray(np.linspace(least, top, width * height).astype(np.uint16).reshape(height, width)).save(path)


def test_the_bits_of_a_camera_are_seen_over_the_whole_data_set(root, caplog):
    for path in root.glob("carpet/t*/*/*.png"):
        deep(path, 2851 if path.name == "3.png" else 900, 400)
    with caplog.at_level(logging.WARNING):
        frame = build_manifest(SETTINGS, root)
    assert set(frame["bits"]) == {12} and "peak" not in frame and deep_bits(frame) == 12
    assert "16 of 16 images have 16 bits; values up to 2851: 12 bits, dataset.bits" in caplog.text
    told = build_manifest(SETTINGS.model_copy(update={"bits": 14}), root)
    assert deep_bits(told) == 14
    with pytest.raises(NandError, match=r"3\.png: has the value 2851, 10 bits end at 1023; correct dataset\.bits"):
        build_manifest(SETTINGS.model_copy(update={"bits": 10}), root)


def test_bits_are_said_of_16_bit_images_alone_and_a_class_with_fewer_is_named(root, caplog):
    for settings in (SETTINGS, SETTINGS.model_copy(update={"bits": 12})):
        assert deep_bits(build_manifest(settings, root)) is None
    shutil.copytree(root / "carpet", root / "wood")
    deep(root / "carpet/train/good/0.png", 40000)
    deep(root / "wood/train/good/0.png", 4000)
    with caplog.at_level(logging.WARNING):
        frame = build_manifest(SETTINGS, root).set_index("path")
    assert frame["bits"].value_counts().to_dict() == {8: 30, 16: 2} and deep_bits(frame) == 16
    assert "class wood: its 16-bit values end at 4000, which 12 bits hold" in caplog.text


@pytest.mark.parametrize("bits", [7, 17, 12.5])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValidationError):
        DatasetSettings(root="x", bits=bits)


def test_masks_that_mark_nothing_say_why_and_several_hold_together(root, caplog):
    masks = root / "carpet/ground_truth/hole"
    Image.new("L", (9, 5), 40).save(masks / "3_mask.png")
    Image.new("L", (9, 5), 0).save(masks / "2_mask.png")
    Image.new("L", (9, 5), 255).save(masks / "2_mask_2.png")
    with caplog.at_level(logging.WARNING):
        frame = build_manifest(SETTINGS, root).set_index("path")
    assert "hole/3_mask.png (its largest value is 40, above 127 counts)" in caplog.text
    assert "hole/2_mask" not in caplog.text
    names, digests = (mask_paths(str(frame.loc["carpet/test/hole/2.png", key])) for key in ("mask", "mask_sha256"))
    assert digests == [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]
    assert len(set(digests)) == 2


def test_identical_images_in_training_and_test_and_in_good_and_defect_are_named(root):
    def same(one: str, other: str) -> None:
        (root / "carpet" / other).write_bytes((root / "carpet" / one).read_bytes())

    same("train/good/1.png", "train/good/2.png")
    same("test/good/2.png", "test/good/3.png")
    assert duplicates(digest_files(scan(SETTINGS, root), root)) == [], "the same twice is no contradiction"
    same("train/good/0.png", "test/good/0.png")
    same("test/good/1.png", "test/hole/1.png")
    same("test/cut/0.png", "test/hole/0.png")
    assert duplicates(digest_files(scan(SETTINGS, root), root)) == [
        "identical images in carpet: cut and carpet: hole: carpet/test/cut/0.png = carpet/test/hole/0.png",
        "identical images in carpet: good and carpet: hole: carpet/test/good/1.png = carpet/test/hole/1.png",
        "identical images in carpet: good and carpet: train: carpet/test/good/0.png = carpet/train/good/0.png",
    ]


def test_the_same_pixels_in_another_file_are_identical(root):
    with Image.open(root / "carpet/test/cut/0.png") as picture:
        picture.convert("RGBA").save(root / "carpet/train/good/9.tif")
    frame = digest_files(scan(SETTINGS, root), root)
    assert duplicates(frame) == []
    assert duplicates(check_images(frame, root)) == [
        "identical images in carpet: cut and carpet: train: carpet/test/cut/0.png = carpet/train/good/9.tif"
    ]
    assert "pixels" not in build_manifest(SETTINGS, root)


def test_large_images_are_decoded_one_at_a_time_and_small_ones_together(root, monkeypatch):
    frame = digest_files(scan(SETTINGS, root), root)
    waiting = threading.Barrier(2)
    monkeypatch.setattr(manifest, "measured", lambda path, file: (waiting.wait(5), measured(path, file))[1])
    check_images(frame.iloc[:2], root)  # two are decoded at once, or the barrier breaks
    at_work = threading.Lock()

    def alone(path, file):
        assert at_work.acquire(blocking=False), "another one is being decoded"
        try:
            return measured(path, file)
        finally:
            at_work.release()

    monkeypatch.setattr(manifest, "measured", alone)
    monkeypatch.setattr(manifest, "_LARGE", 20)
    assert len(check_images(frame, root)) == len(frame)
