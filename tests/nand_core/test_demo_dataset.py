"""The generated data set: what is drawn, where it is written, and what a second call keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from nand_core.datasets import demo
from nand_core.datasets.demo import DemoSettings, Subject, draw, generate, images, subjects
from nand_core.errors import NandError

SMALL = DemoSettings(image_size=64, train_good=2, test_good=1, per_type=1)
OTHER = SMALL.model_copy(update={"seed": 1})

TYPES = {
    "carpet": {"thread", "hole", "color", "metal"},
    "wood": {"scratch", "hole", "liquid", "color"},
    "leather": {"cut", "glue", "fold", "poke"},
    "tile": {"crack", "glue_strip", "gray_stroke", "oil"},
    "grid": {"bent", "broken", "thread", "metal"},
}
DEFECTS = [(name, defect) for name, defects in TYPES.items() for defect in sorted(defects)]


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine") / "demo"
    generate(root, SMALL)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "demo"))


def test_layout_is_mvtec_ads(pristine: Path) -> None:
    expected = {"demo.json"}
    for name, defects in TYPES.items():
        expected |= {f"{name}/train/good/000.png", f"{name}/train/good/001.png", f"{name}/test/good/000.png"}
        expected |= {f"{name}/test/{defect}/000.png" for defect in defects}
        expected |= {f"{name}/ground_truth/{defect}/000_mask.png" for defect in defects}
    assert set(content(pristine)) == expected
    for path in pristine.rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (64, 64)
            assert image.mode == ("L" if "ground_truth" in path.parts else "RGB")


def test_default_set_has_540_pictures_in_distinct_places() -> None:
    everything = list(subjects(DemoSettings()))
    assert len(everything) == len({subject.image_path for subject in everything}) == 540


def test_same_seed_same_bytes(pristine: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", SMALL)
    assert content(tmp_path / "again") == content(pristine)


def test_pictures_do_not_depend_on_one_another(pristine: Path) -> None:
    subject = Subject("wood", "test", "liquid", 0)
    alone = draw(subject, SMALL.seed, SMALL.image_size)
    np.testing.assert_array_equal(alone.image, np.asarray(Image.open(pristine / subject.image_path)))
    np.testing.assert_array_equal(
        np.where(alone.mask, 255, 0), np.asarray(Image.open(pristine / subject.mask_path))
    )


def test_all_pictures_of_all_seeds_differ() -> None:
    drawn = [photograph.image.tobytes() for settings in (SMALL, OTHER) for photograph in images(settings)]
    assert len(set(drawn)) == len(drawn) == 2 * 35


def test_images_are_drawn_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Subject] = []
    monkeypatch.setattr(demo, "draw", lambda subject, seed, size: drawn.append(subject))
    pictures = images(DemoSettings())
    next(pictures)
    next(pictures)
    assert drawn == [Subject("carpet", "train", "good", 0), Subject("carpet", "train", "good", 1)]


@pytest.mark.parametrize(("name", "defect"), DEFECTS)
def test_mask_is_where_the_picture_was_changed(name: str, defect: str) -> None:
    for index in range(4):
        photograph = draw(Subject(name, "test", defect, index), seed=5, size=128)
        changed = np.abs(photograph.image.astype(int) - photograph.undamaged).max(axis=-1)
        assert photograph.mask.dtype == bool
        assert 0.002 < photograph.mask.mean() < 0.15
        assert not changed[~photograph.mask].any()
        assert (changed[photograph.mask] > 0).mean() > 0.9
        # a person can see it: on average far more than the camera's noise of some four levels
        assert changed[photograph.mask].mean() > 12


def test_good_picture_is_undamaged() -> None:
    photograph = draw(Subject("grid", "test", "good", 0), seed=0, size=64)
    assert photograph.mask is None
    assert photograph.subject.mask_path is None
    np.testing.assert_array_equal(photograph.image, photograph.undamaged)


def test_edited_file_is_kept_and_missing_files_come_back(root: Path, pristine: Path) -> None:
    edited = root / "tile/test/oil/000.png"
    edited.write_bytes(b"mine")
    (root / "carpet/train/good/001.png").unlink()
    (root / "grid/ground_truth/bent/000_mask.png").unlink()
    shutil.rmtree(root / "leather")
    generate(root, SMALL)
    assert content(root) == content(pristine) | {"tile/test/oil/000.png": b"mine"}


def test_nothing_is_drawn_when_nothing_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "draw", lambda *_: pytest.fail("drew a picture that is there"))
    told: list[tuple[int, int]] = []
    generate(root, SMALL, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 35) for done in range(1, 36)]


class Killed(Exception):
    pass


def kill_after(pictures: int):
    def progress(done: int, total: int) -> None:
        if done == pictures:
            raise Killed

    return progress


def test_interrupted_run_is_completed(pristine: Path, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    with pytest.raises(Killed):
        generate(root, SMALL, progress=kill_after(9))
    assert json.loads((root / "demo.json").read_text())["settings"] == SMALL.model_dump()
    assert len(list(root.rglob("test/*/*.png")) + list(root.rglob("train/*/*.png"))) == 9
    (root / "wood/test/hole").mkdir(parents=True)
    (root / "wood/test/hole/.000.png.part").write_bytes(b"half a fi")
    generate(root, SMALL)
    assert content(root) == content(pristine)


def test_other_settings_rebuild_the_folder(root: Path, tmp_path: Path) -> None:
    generate(root, OTHER)
    generate(tmp_path / "fresh", OTHER)
    assert content(root) == content(tmp_path / "fresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "fresh"]


def test_other_drawing_code_rebuilds_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "tile/test/oil/000.png").write_bytes(b"drawn by the old code")
    monkeypatch.setattr(demo, "DRAWING", demo.DRAWING + 1)
    generate(root, SMALL)
    assert (root / "tile/test/oil/000.png").read_bytes() != b"drawn by the old code"


def test_interrupted_rebuild_keeps_the_old_set_until_the_new_is_complete(
    root: Path, pristine: Path, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        generate(root, OTHER, progress=kill_after(20))
    assert content(root) == content(pristine)
    generate(root, OTHER)
    assert {path.name for path in tmp_path.iterdir()} == {"demo"}
    assert json.loads((root / "demo.json").read_text())["settings"]["seed"] == 1


def test_swap_cut_in_two_is_finished_without_drawing(
    root: Path, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / ".demo.old"
    generate(old, OTHER)
    root.rename(tmp_path / ".demo.new")
    monkeypatch.setattr(demo, "draw", lambda *_: pytest.fail("drew a picture that is there"))
    generate(root, SMALL)
    assert content(root) == content(pristine)
    assert {path.name for path in tmp_path.iterdir()} == {"demo"}


@pytest.mark.parametrize("record", [None, "", "{}", "[1]", '{"settings": {}}'])
def test_foreign_folder_is_refused_and_left_alone(tmp_path: Path, record: str | None) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "holiday.png").write_bytes(b"sea")
    if record is not None:
        (root / "demo.json").write_text(record)
    before = content(root)
    with pytest.raises(NandError, match="photos"):
        generate(root, SMALL)
    assert content(root) == before


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("notes")
    with pytest.raises(NandError, match="demo"):
        generate(tmp_path / "demo", SMALL)


def test_empty_folder_is_filled(pristine: Path, tmp_path: Path) -> None:
    generate(tmp_path, SMALL)
    assert content(tmp_path) == content(pristine)


def test_settings_are_strict() -> None:
    with pytest.raises(ValidationError):
        DemoSettings(size=128)
    with pytest.raises(ValidationError):
        DemoSettings(seed=-1)
    with pytest.raises(ValidationError):
        SMALL.seed = 2
