"""Trees of another layout by globs, and the seeded split of good images that come without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nand_core.datasets.manifest import build_manifest, scan
from nand_core.datasets.mapped import chosen
from nand_core.datasets.settings import ClassMapping, DatasetSettings
from nand_core.errors import NandError

MAGNETIC_TILE = Path(
    os.environ.get("NAND_MAGNETIC_TILE", Path(__file__).parents[3] / "shared/data/magnetic_tile")
)

IMAGES = [f"free/{i:02}.jpg" for i in range(10)]


@pytest.fixture
def root(tmp_path) -> Path:
    names = [f"free/{i:02}.jpg" for i in range(10)] + [f"free/{i:02}.png" for i in range(10)]
    names += ["hole/a.jpg", "hole/a.png", "hole/b.jpg", "hole/b.png", "crack/c.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def _mapping(**changes) -> dict:
    return {
        "good": {"images": "free/*.jpg", "train": 6, "seed": 0},
        "types": {"hole": {"images": "hole/*.jpg", "mask": "{stem}.png"}, "crack": {"images": "crack/*.jpg"}},
        **changes,
    }


def _scan(root: Path, mapping: dict, **options):
    return scan(DatasetSettings(kind="folder", root="unused", mapping={"tile": mapping}, **options), root)


def _refused(root: Path, mapping: dict, *words: str, **options) -> None:
    with pytest.raises(NandError) as caught:
        _scan(root, mapping, **options)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def _train(frame) -> list[str]:
    return list(frame.loc[frame["split"] == "train", "path"])


def test_the_table(root):
    frame = _scan(root, _mapping())
    assert frame.groupby(["split", "type"]).size().to_dict() == {
        ("train", "good"): 6,
        ("test", "good"): 4,
        ("test", "hole"): 2,
        ("test", "crack"): 1,
    }
    assert set(frame["class"]) == {"tile"}
    assert frame.set_index("path")["mask"].loc[["hole/a.jpg", "crack/c.jpg"]].to_list() == ["hole/a.png", ""]
    assert frame["path"].is_unique


def test_groups_and_ignored_types_apply(root):
    frame = _scan(root, _mapping(), groups={"tile": {"pore": ("hole",)}})
    assert dict(zip(frame["type"], frame["group"], strict=True)) == {"good": "", "hole": "pore", "crack": ""}
    _refused(root, _mapping(), "no abnormal image", ignore_types=("crack",))


def test_the_seed_chooses_and_the_order_of_files_does_not(root, monkeypatch):
    first, other = (
        _train(_scan(root, _mapping())),
        _train(_scan(root, _mapping(good={**_mapping()["good"], "seed": 1}))),
    )
    assert first != other
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *a: iter(sorted(glob(*a), reverse=True)))
    assert _train(_scan(root, _mapping())) == first


def test_the_choice_is_the_same_everywhere():
    assert chosen(IMAGES, 4, seed=0) == {f"free/0{i}.jpg" for i in (0, 2, 4, 5)}


@given(st.permutations(IMAGES), st.integers(0, 12), st.integers(0, 5), st.sampled_from(IMAGES))
def test_the_choice_depends_on_seed_and_paths_alone(shuffled, count, seed, gone):
    choice = chosen(shuffled, count, seed)
    assert choice == chosen(IMAGES, count, seed)
    assert len(choice) == min(count, len(IMAGES))
    assert len(chosen([path for path in IMAGES if path != gone], count, seed) - choice) <= 1


def test_given_split(root):
    good = {"train": "free/0[0-3].jpg", "test": "free/0[4-9].jpg"}
    assert _train(_scan(root, _mapping(good=good))) == [f"free/0{i}.jpg" for i in range(4)]
    _refused(
        root, _mapping(good={"train": "free/*.jpg", "test": "free/09.jpg"}), "free/09.jpg", "more than one"
    )


def test_one_image_in_two_types(root):
    types = {"hole": {"images": "hole/*.jpg"}, "pore": {"images": "hole/a.jpg"}}
    _refused(root, _mapping(types=types), "hole/a.jpg", "more than one class, type or split")


def test_pattern_without_files(root):
    _refused(root, _mapping(good={"images": "fre/*.jpg", "train": 6}), "tile.good.images", "'fre/*.jpg'")


def test_pattern_that_is_none_and_a_link_to_itself(root):
    # Pythons differ in whether they take "**x" for a pattern: either way it matches nothing.
    _refused(
        root,
        _mapping(good={"images": "free/**x", "train": 6}),
        "tile.good.images",
        "'free/**x'",
        "correct it",
    )
    (root / "crack/d.jpg").symlink_to("d.jpg")
    _refused(root, _mapping(), "missing: crack/d.jpg")


def test_nothing_left_to_test(root):
    _refused(root, _mapping(good={"images": "free/*.jpg", "train": 10}), "tile.good", "10 of 10", "lower")


def test_pattern_that_takes_masks_for_images(root):
    _refused(root, _mapping(good={"images": "free/*", "train": 6}), "clash")
    _refused(
        root, _mapping(types={"hole": {"images": "hole/*.png", "mask": "{stem}.png"}}), "image and a mask"
    )


def test_missing_masks(root):
    (root / "hole/b.png").unlink()
    _refused(root, _mapping(), "missing: hole/b.png")


def test_mask_beside_the_images_folder(root):
    (root / "masks").mkdir()
    (root / "masks/c_m.png").touch()
    types = {
        "crack": {"images": "crack/*.jpg", "mask": "../masks/{stem}_m.png"},
        "hole": {"images": "hole/*.jpg"},
    }
    assert "masks/c_m.png" in set(_scan(root, _mapping(types=types))["mask"])
    types["crack"]["mask"] = "../../{stem}.png"
    _refused(root, _mapping(types=types), "leads out of the data root")


def test_other_files_are_refused_and_notes_passed_over(root):
    (root / "crack/note.txt").touch()
    types = {**_mapping()["types"], "crack": {"images": "crack/*"}}
    assert len(_scan(root, _mapping(types=types))) == 13
    (root / "crack/d.gif").touch()
    _refused(root, _mapping(types=types), "tile.types.crack.images", "crack/d.gif", "narrow")


def test_type_named_good(root):
    _refused(root, _mapping(types={"good": {"images": "hole/*.jpg"}}), "'good'", "rename")


@pytest.mark.parametrize(
    "change",
    [
        {"good": {"images": "/abs/*.jpg", "train": 1}},
        {"good": {"images": "../*.jpg", "train": 1}},
        {"good": {"images": "a\\*.jpg", "train": 1}},
        {"good": {"images": "", "train": 1}},
        {"good": {"images": "*.jpg", "train": 0}},
        {"good": {"images": "*.jpg"}},
        {"good": {"train": "*.jpg"}},
        {"types": {"hole": {"images": "*.jpg", "mask": "mask.png"}}},
    ],
)
def test_mappings_that_cannot_be(change):
    with pytest.raises(ValidationError):
        ClassMapping.model_validate(_mapping(**change))


def test_mapping_is_for_folders_only():
    with pytest.raises(ValidationError, match="folder"):
        DatasetSettings(kind="visa", root="x", mapping={"tile": _mapping()})
    with pytest.raises(NandError, match="names no class"):
        scan(DatasetSettings(kind="folder", root="x", mapping={}), Path(__file__).parent)


@pytest.mark.skipif(not MAGNETIC_TILE.is_dir(), reason="set NAND_MAGNETIC_TILE to the magnetic tile images")
def test_magnetic_tiles(caplog):
    names = ("Blowhole", "Break", "Crack", "Fray", "Uneven")
    types = {n.lower(): {"images": f"MT_{n}/Imgs/*.jpg", "mask": "{stem}.png"} for n in names}
    mapping = {"good": {"images": "MT_Free/Imgs/*.jpg", "train": 400}, "types": types}
    settings = DatasetSettings(kind="folder", root="unused", mapping={"magnetic_tile": mapping})
    frame = build_manifest(settings, MAGNETIC_TILE)
    assert frame.groupby(["split", "type"]).size().to_dict() == {
        ("train", "good"): 400,
        ("test", "good"): 552,
        ("test", "blowhole"): 115,
        ("test", "break"): 85,
        ("test", "crack"): 57,
        ("test", "fray"): 32,
        ("test", "uneven"): 103,
    }
    assert (frame["width"].min(), frame["width"].max()) == (103, 632)
    assert len(frame[["width", "height"]].drop_duplicates()) == 1225
    assert "mark no defect" in caplog.text and caplog.text.count("MT_Uneven") == 4
