"""VisA as released: the split from 1cls.csv, the types from image_anno.csv."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nand_core.datasets.images import read_mask
from nand_core.datasets.manifest import build_manifest, scan
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError

LABELS = {"000": "chunk of wax missing", "001": '"chunk of wax missing, Weird Candle-Wick"', "002": "other"}


@pytest.fixture
def root(tmp_path) -> Path:
    split = ["object,split,label,image,mask"]
    notes = ["image,label,mask"]
    for i in range(4):
        image = f"candle/Data/Images/Normal/{i:04}.JPG"
        _image(tmp_path / image)
        split.append(f"candle,{'train' if i < 3 else 'test'},normal,{image},")
        notes.append(f"{image},normal,")
    for stem, label in LABELS.items():
        image, mask = f"candle/Data/Images/Anomaly/{stem}.JPG", f"candle/Data/Masks/Anomaly/{stem}.png"
        _image(tmp_path / image)
        _image(tmp_path / mask, mode="L", colour=1)
        split.append(f"candle,test,anomaly,{image},{mask}")
        notes.append(f"{image},{label},{mask}")
    _write(tmp_path / "split_csv/1cls.csv", split)
    _write(tmp_path / "candle/image_anno.csv", notes)
    return tmp_path


def _image(path: Path, mode: str = "RGB", colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), colour).save(path)


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8-sig")
    assert old in text
    path.write_text(text.replace(old, new))


def _scan(root: Path, **options):
    return scan(DatasetSettings(kind="visa", root="unused", **options), root)


def _refused(root: Path, *words: str, **options) -> None:
    with pytest.raises(NandError) as caught:
        _scan(root, **options)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_the_table(root):
    frame = build_manifest(DatasetSettings(kind="visa", root="unused"), root)
    assert frame.groupby(["split", "type", "group"]).size().to_dict() == {
        ("train", "good", ""): 3,
        ("test", "good", ""): 1,
        ("test", "chunk_of_wax_missing", "chunk_of_wax_missing"): 1,
        ("test", "combined", ""): 1,
        ("test", "other", "other"): 1,
    }
    other = frame[frame["type"] == "other"].iloc[0]
    assert (other["path"], other["mask"]) == (
        "candle/Data/Images/Anomaly/002.JPG",
        "candle/Data/Masks/Anomaly/002.png",
    )
    assert (other["width"], other["height"]) == (8, 6)


def test_its_masks_of_label_numbers_are_read(root):
    assert read_mask(root / "candle/Data/Masks/Anomaly/000.png", (8, 6)).all()


def test_combined_can_be_left_out_or_grouped(root):
    assert "combined" not in set(_scan(root, ignore_types=("combined",))["type"])
    frame = _scan(root, groups={"candle": {"mixed": ("combined",)}})
    assert set(frame["group"]) == {"", "mixed"}


def test_missing_tables(root):
    (root / "candle/image_anno.csv").rename(root / "elsewhere.csv")
    _refused(root, "candle/image_anno.csv", "no such file")
    (root / "split_csv/1cls.csv").unlink()
    _refused(root, "split_csv/1cls.csv", "no such file", "visa")


def test_other_classes_need_not_be_there(root):
    with (root / "split_csv/1cls.csv").open("a") as file:
        file.write("pcb1,test,normal,pcb1/Data/Images/Normal/0000.JPG,\n")
    assert set(_scan(root, classes=("candle",))["class"]) == {"candle"}
    _refused(root, "pcb1/image_anno.csv")
    _refused(root, "'candel'", "did you mean 'candle'", classes=("candel",))


def test_missing_images_are_listed(root):
    (root / "candle/Data/Images/Normal/0001.JPG").unlink()
    (root / "candle/Data/Masks/Anomaly/001.png").unlink()
    _refused(root, "missing: candle/Data/Images/Normal/0001.JPG, candle/Data/Masks/Anomaly/001.png")


@pytest.mark.parametrize("label", ["normal", "", " , "])
def test_anomaly_without_a_defect_name(root, label):
    _edit(root / "candle/image_anno.csv", ",other,", f',"{label}",')
    _refused(root, "image_anno.csv", "no defect named", "Anomaly/002.JPG")


def test_anomalies_to_fit_on(root):
    _edit(root / "split_csv/1cls.csv", "candle,test,anomaly", "candle,train,anomaly")
    _refused(root, "1cls.csv", "Anomaly/000.JPG", "'train'")


def test_tables_that_are_none(root):
    table = root / "split_csv/1cls.csv"
    table.write_text("object,split\ncandle,train\n")
    _refused(root, "columns object, split, label, image, mask")
    table.write_bytes(b"\xff\xfe\x00object")
    _refused(root, "is no CSV file")
    table.write_text("")
    _refused(root, "columns")


def test_paths_that_leave_the_root(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.JPG"
    _image(outside)
    _edit(root / "split_csv/1cls.csv", "candle/Data/Images/Normal/0000.JPG", str(outside))
    _refused(root, "leads out of the data root", "x.JPG")


def test_listed_twice(root):
    _edit(root / "split_csv/1cls.csv", "Normal/0001.JPG", "Normal/0000.JPG")
    _refused(root, "Normal/0000.JPG", "more than one")
