"""Folders in MVTec AD's layout: the table they give, and each way in which they can be wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from nand_core.datasets.layout import mask_paths
from nand_core.datasets.manifest import scan
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError

TREE = (
    "carpet/train/good/000.png",
    "carpet/train/good/001.png",
    "carpet/test/good/000.png",
    "carpet/test/hole/000.png",
    "carpet/test/thread/000.png",
    "carpet/test/thread/001.JPG",
    "carpet/ground_truth/hole/000_mask.png",
    "carpet/ground_truth/thread/000_mask.png",
    "carpet/ground_truth/thread/001_mask.png",
    "wood/train/good/000.png",
    "wood/test/good/000.png",
    "wood/test/knot/000.png",
    "wood/test/stain/000.png",
)


@pytest.fixture
def root(tmp_path) -> Path:
    _touch(tmp_path / "data", *TREE)
    return tmp_path / "data"


def _touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def _remove(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).unlink()


def _scan(root: Path, **options):
    return scan(DatasetSettings(kind="folder", root="unused", **options), root)


def _refused(root: Path, *words: str, **options) -> None:
    with pytest.raises(NandError) as caught:
        _scan(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def test_the_table(root):
    frame = _scan(root)
    assert list(frame.columns) == ["class", "type", "group", "split", "path", "mask"]
    assert len(frame) == 10
    assert frame["path"].is_unique
    assert frame.equals(frame.sort_values(["class", "split", "type", "path"], ignore_index=True))
    hole = frame[frame["type"] == "hole"].iloc[0].to_dict()
    assert hole == {
        "class": "carpet",
        "type": "hole",
        "group": "hole",
        "split": "test",
        "path": "carpet/test/hole/000.png",
        "mask": "carpet/ground_truth/hole/000_mask.png",
    }
    assert set(frame.loc[frame["type"] == "good", "group"]) == {""}
    assert set(frame.loc[frame["class"] == "wood", "mask"]) == {""}


def test_no_image_is_opened(root):
    assert all((root / path).stat().st_size == 0 for path in _scan(root)["path"])


def test_order_of_the_file_system_does_not_matter(root, monkeypatch):
    first = _scan(root)
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(listing(folder), reverse=True)))
    assert _scan(root).equals(first)


def test_a_mask_may_have_the_images_own_name(root):
    (root / "carpet/ground_truth/hole/000_mask.png").rename(root / "carpet/ground_truth/hole/000.png")
    assert "carpet/ground_truth/hole/000.png" in set(_scan(root)["mask"])


def test_chosen_classes(root):
    assert set(_scan(root, classes=("wood",))["class"]) == {"wood"}
    _refused(root, "no class 'woood'", "did you mean 'wood'", classes=("woood",))


def test_missing_root_and_root_without_classes(root, tmp_path):
    _refused(tmp_path / "nowhere", "no such folder", "dataset.root")
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty", "no classes found", "train/good")
    _refused(root / "carpet", "this is one class", "above")
    _refused(root / TREE[0], "no such folder")


def test_other_folders_are_logged(root, caplog):
    (root / "docs").mkdir()
    with caplog.at_level(logging.WARNING):
        assert set(_scan(root)["class"]) == {"carpet", "wood"}
    assert "docs" in caplog.text


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("wood/train/good/000.png", "good images to fit on"),
        ("wood/test/good/000.png", "good images to test on"),
    ],
)
def test_class_without_good_images(root, gone, words):
    _remove(root, gone)
    _refused(root, "wood", words, "dataset.classes")


def test_class_without_defects(root):
    _remove(root, "wood/test/knot/000.png", "wood/test/stain/000.png")
    (root / "wood/test/knot").rmdir()
    (root / "wood/test/stain").rmdir()
    _refused(root, "wood", "no anomaly type")


def test_empty_type_folder_is_refused_unless_ignored(root):
    _remove(root, "wood/test/knot/000.png")
    (root / "wood/test/fungus").mkdir()
    _touch(root, "wood/test/burn/000.png")
    _refused(root, "wood/test/fungus", "no images", "ignore_types")
    frame = _scan(root, ignore_types=("fungus", "knot"))
    assert set(frame.loc[frame["class"] == "wood", "type"]) == {"good", "burn", "stain"}


def test_unknown_ignored_type(root):
    _refused(root, "ignore_types", "'threat'", "did you mean 'thread'", ignore_types=("threat",))
    assert len(_scan(root, classes=("wood",), ignore_types=("thread",))) == 4


@pytest.mark.parametrize("other", ["000_mask_2", "000_mask2", "000_2_mask", "000-mask (2)", "000", "000.b"])
def test_every_mask_of_an_image_is_taken(root, other):
    first, second = "carpet/ground_truth/hole/000_mask.png", f"carpet/ground_truth/hole/{other}.png"
    _touch(root, second)
    (found,) = (mask for mask in _scan(root)["mask"] if "hole" in mask)
    assert sorted(mask_paths(found)) == sorted([first, second])


def test_a_mask_belongs_to_the_longest_name_and_one_of_no_image_is_said(root, caplog):
    _touch(root, "carpet/test/hole/000_1.png", "carpet/ground_truth/hole/000_1_mask.png")
    _touch(root, "carpet/ground_truth/hole/0001_mask.png")
    with caplog.at_level(logging.WARNING):
        masks = {mask for mask in _scan(root)["mask"] if "hole" in mask}
    assert masks == {"carpet/ground_truth/hole/000_mask.png", "carpet/ground_truth/hole/000_1_mask.png"}
    assert "masks of no image: carpet/ground_truth/hole/0001_mask.png" in caplog.text


def test_names_that_differ_in_their_extension_are_shown_with_it(root):
    _touch(root, "carpet/test/thread/000.jpg")
    _refused(root, "'000.jpg' and '000.png' clash, their extension alone")


def test_names_that_would_move_the_cursor_are_written_out(root):
    _touch(root, "carpet/test/hole/a\x1b[31m\u202e.gif")
    with pytest.raises(NandError) as caught:
        _scan(root)
    assert r"a\x1b[31m\u202e.gif" in str(caught.value) and str(caught.value).isprintable()
    _remove(root, "carpet/test/hole/a\x1b[31m\u202e.gif")
    (root / "wood").rename(root / "wo\x9bod")
    _refused(root, r"'wo\x9bod'", "cannot be seen")


def test_missing_masks_are_listed(root):
    _touch(root, *(f"carpet/test/hole/1{i}.png" for i in range(7)))
    _refused(root, "ground_truth/hole", "hole/10.png", "hole/14.png", "and 2 more", "_mask.png")


def test_missing_mask_folder(root):
    _remove(root, "carpet/ground_truth/hole/000_mask.png")
    (root / "carpet/ground_truth/hole").rmdir()
    _refused(root, "ground_truth/hole", "hole/000.png")


def test_notes_and_litter_are_passed_over(root):
    _touch(
        root, "readme.txt", "carpet/license.txt", "carpet/test/hole/.DS_Store", "carpet/test/hole/Thumbs.db"
    )
    _touch(root, "carpet/test/hole/notes.csv", "carpet/test/.cache/x.png", "carpet/train/good/._000.png")
    assert len(_scan(root)) == 10


@pytest.mark.parametrize("name", ["a.gif", "a.npy", "b", "c.HEIC"])
def test_files_that_are_no_images_are_refused(root, name):
    _touch(root, f"carpet/test/hole/{name}")
    _refused(root, "carpet/test/hole", name, ".png", "convert or move")


def test_nested_and_stray_files_are_refused(root):
    _touch(root, "carpet/test/hole/more/1.png")
    _refused(root, "carpet/test/hole", "more")
    (root / "carpet/test/hole/more").rename(root / "carpet/train/bad")
    _refused(root, "carpet/train", "bad", "good")
    (root / "carpet/train/bad/1.png").rename(root / "carpet/test/1.png")
    (root / "carpet/train/bad").rmdir()
    _refused(root, "carpet/test", "1.png", "<type>")


@pytest.mark.parametrize(("name", "other"), [("001.png", "001.JPG"), ("A.png", "a.png"), ("B.png", "b.jpg")])
def test_names_that_clash(root, name, other):
    _touch(root, f"carpet/test/thread/{name}", f"carpet/test/thread/{other}")
    _refused(root, "carpet/test/thread", "clash")


def test_types_and_classes_that_clash(root):
    _touch(root, "carpet/test/Hole/000.png", "carpet/ground_truth/Hole/000_mask.png")
    _refused(root, "'Hole'", "'hole'", "clash")
    for names in (("v1.0", "v1.1"),):
        for name in names:
            _touch(root / "versions", *(path.replace("wood", name) for path in TREE if "wood" in path))
    assert set(_scan(root / "versions")["class"]) == {"v1.0", "v1.1"}


def test_same_name_in_other_folders_is_fine(root):
    assert _scan(root)["path"].str.endswith("000.png").sum() > 2


def test_links(root, tmp_path):
    outside = tmp_path / "outside"
    _touch(outside, "002.png", "knot/000.png")
    (root / "wood/train/good/inner.png").symlink_to(root / "carpet/train/good/000.png")
    assert len(_scan(root)) == 11
    (root / "wood/train/good/002.png").symlink_to(outside / "002.png")
    _refused(root, "wood/train/good/002.png", "leads out of the data root")
    _remove(root, "wood/train/good/002.png")
    (root / "wood/test/rot").symlink_to(outside / "knot")
    _refused(root, "wood/test/rot/000.png", "leads out of the data root")
    (root / "wood/test/rot").unlink()
    (root / "wood/test/knot/broken.png").symlink_to(root / "gone.png")
    _refused(root, "wood/test/knot", "broken.png")


def test_root_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert _scan(tmp_path / "link").equals(_scan(root))


@pytest.mark.parametrize("name", ["a:b", "x" * 101, "hole.", "new\nline"])
def test_type_that_cannot_name_a_file_everywhere(root, name):
    _touch(root, f"wood/test/{name}/000.png")
    _refused(root, "anomaly type", "rename")


def test_file_name_that_is_not_utf8(root):
    _touch(root, "wood/test/knot/\udcff.png")
    _refused(root, "not UTF-8", "\\udcff")


# ---- groups


def _groups(frame, class_name: str) -> dict[str, str]:
    rows = frame[(frame["class"] == class_name) & (frame["type"] != "good")]
    return dict(zip(rows["type"], rows["group"], strict=True))


def test_given_groups_and_types_in_no_group(root):
    _touch(root, "wood/test/rot/000.png")
    frame = _scan(root, groups={"wood": {"dirt": ("stain", "rot")}})
    assert _groups(frame, "wood") == {"stain": "dirt", "rot": "dirt", "knot": ""}
    assert _groups(frame, "carpet") == {"hole": "hole", "thread": "thread"}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"wod": {"dirt": ("stain",)}}, ("no class 'wod'", "did you mean 'wood'")),
        ({"wood": {"dirt": ("stein",)}}, ("dataset.groups.wood.dirt", "'stein'", "did you mean 'stain'")),
        ({"wood": {"dirt": ()}}, ("dataset.groups.wood.dirt", "names no anomaly type")),
        ({"wood": {"dirt": ("stain",), "mark": ("stain",)}}, ("wood.mark", "'dirt' too", "keep it in one")),
        ({"wood": {"all": ("stain", "knot")}}, ("'wood'", "'all'", "no abnormal image")),
        ({"wood": {"good": ("stain",)}}, ("'good'", "rename the group")),
        ({"wood": {"a/b": ("stain",)}}, ("group 'a/b'", "rename")),
        ({"wood": {"..": ("stain",)}}, ("group '..'", "rename")),
        ({"wood": {"Dirt": ("stain",), "dirt": ("knot",)}}, ("'Dirt'", "'dirt'", "clash")),
    ],
)
def test_groups_that_cannot_be(root, groups, words):
    _refused(root, *words, groups=groups)


def test_group_of_an_ignored_type(root):
    _touch(root, "wood/test/rot/000.png")
    _refused(root, "'rot'", "ignore_types", groups={"wood": {"g": ("rot",)}}, ignore_types=("rot",))


def test_class_with_a_single_type(root):
    _remove(root, "wood/test/knot/000.png")
    (root / "wood/test/knot").rmdir()
    _refused(root, "'wood'", "'stain'", "no abnormal image", "dataset.classes")


def test_settings_refuse_unknown_keys_and_kinds():
    for wrong in ({"kind": "folders"}, {"group": {}}, {"groups": {"wood": {"g": "stain"}}}):
        with pytest.raises(ValidationError):
            DatasetSettings(root="x", **wrong)
