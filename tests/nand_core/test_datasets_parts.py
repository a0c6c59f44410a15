"""Photographs of one part stay on one side: of the split, of a threshold's folds, of a judgement by example."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nand_core.datasets.parts import judged_rows, named_parts, of_parts
from nand_core.datasets.scan import scan
from nand_core.datasets.settings import DatasetSettings, PartSettings
from nand_core.errors import NandError
from nand_core.operating import thresholds
from nand_core.settings import EvaluationSettings
from tests.nand_core.test_datasets_mapped import MAGNETIC_TILE

NUMBER = PartSettings(name=r"_(\d+)\.", within=10)


def _settings(good: dict, **part) -> DatasetSettings:
    types = {name: {"images": f"{name}/*.png"} for name in ("hole", "crack")}
    return DatasetSettings(
        kind="folder",
        root="unused",
        mapping={"tile": {"good": good, "types": types}},
        part={"name": r"_(\d+)\.", **part},
    )


@pytest.fixture
def root(tmp_path) -> Path:
    """Five parts by three good images, numbers 10 apart within a part; two of them with a defect as well."""
    for part in range(5):
        for shot in range(3):
            _touch(tmp_path / f"good/p{shot}_{1000 * part + 10 * shot}.png")
    _touch(tmp_path / "hole/p_25.png")
    _touch(tmp_path / "crack/p_3001.png")
    return tmp_path


def _touch(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 30))
def test_numbers_near_each_other_are_one_part(numbers, within):
    paths = [f"a/{i}_{number}.png" for i, number in enumerate(numbers)]
    parts = named_parts(paths, PartSettings(name=r"_(\d+)\.", within=within))
    ordered = sorted(zip(numbers, paths, strict=True))
    for (one, path), (other, after) in pairwise(ordered):
        assert (parts[path] == parts[after]) == (other - one <= within)
    assert parts == named_parts(paths[::-1], PartSettings(name=r"_(\d+)\.", within=within))


def test_without_within_the_text_is_the_part():
    by_serial = PartSettings(name=r"([^/]+)_view\d")
    assert named_parts(["x/a7_view1.png", "y/a7_view2.png", "x/b_view1.png"], by_serial) == {
        "x/a7_view1.png": "a7", "y/a7_view2.png": "a7", "x/b_view1.png": "b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "settings", "words"),
    [
        (["a/x_1.png", "a/none.png"], NUMBER, ("a/none.png", "not found")),
        (["a_b.png", "a_1.png"], PartSettings(name=r"_(\w+)\.", within=1), ("a_b.png", "needs numbers")),
    ],
)
def test_a_path_without_a_part(paths, settings, words):
    with pytest.raises(NandError) as caught:
        named_parts(paths, settings)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("name", ["(", "num", "(a)(b)"])
def test_a_pattern_that_names_no_part(name):
    with pytest.raises(ValidationError, match=r"regular expression|one group"):
        PartSettings(name=name)


def test_whole_parts_are_learned_from_and_none_with_a_defect(root):
    frame = scan(_settings({"images": "good/*.png", "train": 7}, within=20), root)
    train = frame[frame["split"] == "train"]
    assert len(train) == 6 and train["part"].nunique() == 2
    assert not set(train["part"]) & set(frame.loc[frame["split"] == "test", "part"])
    assert frame.set_index("type")["part"].loc[["hole", "crack"]].tolist() == ["0", "3000"]
    assert {"part", "group"} <= set(judged_rows(frame)[0])
    with pytest.raises(NandError, match="no part without a defect has 2 images or fewer"):
        scan(_settings({"images": "good/*.png", "train": 2}, within=20), root)


def test_a_given_split_through_a_part_is_refused(root):
    given_split = {"train": "good/p0_*.png", "test": "good/p[12]_*.png"}
    with pytest.raises(NandError, match=r"5 parts are in training and in test: good/p0_0\.png and good/p"):
        scan(_settings(given_split, within=20), root)
    assert "part" in scan(_settings(given_split), root)  # each number a part of its own
    alone = scan(DatasetSettings(**_settings(given_split).model_dump() | {"part": None}), root)
    assert "part" not in alone and "part" not in judged_rows(alone)[0]


def test_the_images_of_a_shown_part_go_with_it():
    rows = pd.DataFrame({"path": list("abcd"), "part": ["1", "1", "2", "3"]})
    assert of_parts(rows, ["b", "elsewhere"]).tolist() == [True, True, False, False]
    assert of_parts(rows.drop(columns="part"), ["b"]).tolist() == [False, True, False, False]


def test_no_threshold_is_set_on_the_part_that_it_judges():
    parts = [str(i // 6) for i in range(60)]
    scores, good = np.arange(60.0), np.ones(60, bool)
    before = thresholds(scores, good, parts, EvaluationSettings())
    for part in range(10):
        own = slice(6 * part, 6 * part + 6)
        changed = scores.copy()
        changed[own] = 1000
        np.testing.assert_array_equal(thresholds(changed, good, parts, EvaluationSettings())[own], before[own])


@pytest.mark.skipif(not MAGNETIC_TILE.is_dir(), reason="set NAND_MAGNETIC_TILE to the magnetic tile images")
def test_the_exposures_of_a_magnetic_tile_stay_together():
    good = {"images": "MT_Free/Imgs/*.jpg", "train": 400}
    types = {name.lower(): {"images": f"MT_{name}/Imgs/*.jpg"} for name in ("Crack", "Fray")}
    part = {"name": r"num_(\d+)\.", "within": 100}
    frame = scan(
        DatasetSettings(kind="folder", root="", mapping={"tile": {"good": good, "types": types}}, part=part),
        MAGNETIC_TILE,
    )
    sizes = frame.groupby("part").size()
    assert sizes.median() == 6
    assert not set(frame.loc[frame["split"] == "train", "part"]) & set(frame.loc[frame["split"] == "test", "part"])
    assert frame.loc[frame["type"] == "crack", "part"].nunique() == 14
