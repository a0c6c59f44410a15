"""MVTec AD: the official counts, the paper's groups, and what is left out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nand_core.datasets import mvtec_ad
from nand_core.datasets.manifest import scan
from nand_core.datasets.settings import DatasetSettings
from nand_core.errors import NandError

TOTALS = {
    "bottle": (209, 83),
    "cable": (224, 150),
    "capsule": (219, 132),
    "carpet": (280, 117),
    "grid": (264, 78),
    "hazelnut": (391, 110),
    "leather": (245, 124),
    "metal_nut": (220, 115),
    "pill": (267, 167),
    "screw": (320, 160),
    "tile": (230, 117),
    "toothbrush": (60, 42),
    "transistor": (213, 100),
    "wood": (247, 79),
    "zipper": (240, 151),
}


def _release(root: Path, classes, count=lambda official: official) -> Path:
    for name in classes:
        train, good, types = mvtec_ad.OFFICIAL[name]
        folders = {"train/good": train, "test/good": good, **{f"test/{t}": n for t, n in types.items()}}
        for folder, number in folders.items():
            (root / name / folder).mkdir(parents=True)
            for i in range(count(number)):
                (root / name / folder / f"{i:03}.png").touch()
    return root


def _scan(root: Path, **options):
    return scan(DatasetSettings(kind="mvtec_ad", root="unused", **options), root)


def test_counts_sum_to_the_known_totals():
    sums = {
        name: (train, good + sum(types.values())) for name, (train, good, types) in mvtec_ad.OFFICIAL.items()
    }
    assert sums == TOTALS
    assert tuple(map(sum, zip(*sums.values(), strict=True))) == (3629, 1725)


def test_groups_of_the_paper_cover_the_official_types():
    groups = mvtec_ad.paper_groups()
    assert len(groups) == 14 and sum(map(len, groups.values())) == 56
    assert set(groups) == set(mvtec_ad.CLASSES)
    for name, of_class in groups.items():
        members = [member for group in of_class.values() for member in group]
        assert sorted(members) == sorted(set(mvtec_ad.OFFICIAL[name][2]) - {"combined"})


def test_the_complete_release(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        frame = _scan(_release(tmp_path, mvtec_ad.OFFICIAL))
    combined = sum(types.get("combined", 0) for _, _, types in mvtec_ad.OFFICIAL.values())
    assert len(frame) == 3629 + 1725 - 60 - 42 - combined
    assert "toothbrush" not in set(frame["class"]) and "combined" not in set(frame["type"])
    groups = frame[frame["type"] != "good"].groupby("class")["group"].unique()
    assert {name: set(found) for name, found in groups.items()} == {
        name: set(of_class) for name, of_class in mvtec_ad.paper_groups().items()
    }
    assert "toothbrush is left out" in caplog.text and "combined is left out of cable" in caplog.text


def test_chosen_classes_need_only_their_images(tmp_path):
    frame = _scan(_release(tmp_path, ["tile"]), classes=("tile",))
    assert len(frame) == 230 + 117


def test_partial_download(tmp_path):
    _release(tmp_path, ["tile"])
    with pytest.raises(
        NandError, match=r"complete MVTec AD: bottle/test/broken_large has 0 of 20 .*and \d+ more"
    ):
        _scan(tmp_path)
    (tmp_path / "tile/test/oil/003.png").unlink()
    with pytest.raises(NandError, match=r"tile/test/oil has 17 of 18 images; .*check_counts"):
        _scan(tmp_path, classes=("tile",))


def test_additional_images_are_noticed(tmp_path):
    _release(tmp_path, ["tile"])
    (tmp_path / "tile/test/new").mkdir()
    (tmp_path / "tile/test/new/0.png").touch()
    with pytest.raises(NandError, match=r"tile/test/new has 1 of 0 images"):
        _scan(tmp_path, classes=("tile",))


def test_a_miniature_passes_without_the_check(tmp_path):
    _release(tmp_path, ["cable", "toothbrush", "zipper"], count=lambda official: 2)
    frame = _scan(tmp_path, check_counts=False)
    assert set(frame["class"]) == {"cable", "zipper"}
    assert set(frame.loc[frame["type"] == "poke_insulation", "group"]) == {"cut_insulation"}


def test_own_groups_replace_the_papers(tmp_path):
    _release(tmp_path, ["tile"], count=lambda official: 1)
    frame = _scan(tmp_path, check_counts=False, groups={"tile": {"marks": ("oil", "rough")}})
    assert set(frame.loc[frame["group"] == "marks", "type"]) == {"oil", "rough"}
    assert set(frame.loc[frame["type"] == "crack", "group"]) == {""}


def test_toothbrush_and_foreign_classes_are_refused(tmp_path):
    _release(tmp_path, ["toothbrush"])
    with pytest.raises(NandError, match=r"'toothbrush'.*no abnormal image"):
        _scan(tmp_path, classes=("toothbrush",))
    (tmp_path / "toothbrush").rename(tmp_path / "botle")
    with pytest.raises(NandError, match=r"'botle' is not of MVTec AD; did you mean 'bottle'.*folder"):
        _scan(tmp_path, classes=("botle",))
