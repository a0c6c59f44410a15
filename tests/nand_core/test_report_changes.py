"""The images that changed sides: their order and marks, their pictures, and the files of these."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from test_report import Page, save, save_maps

from nand_core.artifacts.store import sha256_file
from nand_core.datasets.images import read_image
from nand_core.decision import Claim, Claimed, final_maps
from nand_core.errors import NandError
from nand_core.operating import EFFECT_COLUMNS, effect_table
from nand_core.report.changes import LIMIT, SIDES, against, changed, render_changes
from nand_core.report.normalities import Described, render_normalities
from nand_core.report.panels import ANOMALY, SUPPRESSION, coloured, levels
from nand_core.report.strips import (
    GAP,
    draw_strips,
    keep_only,
    strip,
    strip_name,
    strip_size,
    unpack,
    write_archive,
)
from nand_core.settings import Rule

ODD = "<b>&\"it's|`#?%"  # a class of this name is a folder that a user may have
SIZES = {"width": 40, "height": 30}


def effect_of(*rows: tuple[str, str, bool, float, float], detector: str = "april_gan", name: str = ODD) -> pd.DataFrame:
    """Rows (type, file, added, score before, score after) at a threshold of 1 before and of 0.5 after."""
    values = [
        {
            "detector": detector, "class": name, "id": f"{name}/test/{kind}/{file}", "type": kind,
            "group": "" if kind in ("good", "odd") else kind, "added": added,
            "score_before": before, "score_after": after, "threshold_before": 1.0, "threshold_after": 0.5,
            "alarm_before": before > 1, "alarm_after": after > 0.5, "alarm_kept": after > 1,
        }
        for kind, file, added, before, after in rows
    ]  # fmt: skip
    return effect_table(pd.DataFrame(values, columns=list(EFFECT_COLUMNS)))


EFFECT = pd.concat(
    [
        effect_of(
            ("good", "a.png", False, 0.9, 0.6),  # a new false alarm
            ("good", "b.png", False, 1.1, 0.4),  # none any more
            ("good", "c.png", False, 0.2, 0.1),
            ("thread", "a.png", True, 3.0, 0.4),  # passes now
            ("thread", "b.png", True, 3.0, 0.9),
            ("thread", "<i>.png", True, 0.9, 0.7),  # a new alarm, of an added group too
            ("hole", "b.png", False, 2.0, 0.3),  # lost
            ("hole", "a.png", False, 2.0, 0.5),  # lost: an alarm lies above its threshold
            ("odd", "a.png", False, 0.8, 0.7),  # a new alarm, of no group
            ("hole", "c.png", False, 2.0, 2.0),
        ),
        effect_of(("hole", "a.png", False, 2.0, 0.3), ("thread", "a.png", True, 0.5, 0.4), detector="patchcore"),
    ]
)


def sizes_of(effect: pd.DataFrame) -> dict[str, tuple[int, int]]:
    return dict.fromkeys(effect["id"], (40, 30))


def shown(page: Page) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in page.tags if tag == "img"]


def test_lost_alarms_come_first_and_good_images_last():
    found = changed(EFFECT, sizes_of(EFFECT), 32)
    assert [(one.side, one.kind, one.id.rsplit("/")[-1], one.detector) for one in found] == [
        ("lost", "hole", "a.png", "april_gan"),
        ("lost", "hole", "a.png", "patchcore"),
        ("lost", "hole", "b.png", "april_gan"),
        ("accepted", "thread", "a.png", "april_gan"),
        ("raised", "odd", "a.png", "april_gan"),
        ("raised", "thread", "<i>.png", "april_gan"),
        ("false", "good", "a.png", "april_gan"),
        ("cleared", "good", "b.png", "april_gan"),
    ]
    assert {one.side for one in found} == set(SIDES)
    assert [one.alarm_before for one in found] == [one.side in ("lost", "accepted", "cleared") for one in found]
    assert {(one.width, one.height) for one in found} == {(4 * 32 + 3 * GAP, 24)}


def test_which_rows_come_first_has_no_effect():
    mixed = EFFECT.sample(frac=1, random_state=3)
    assert changed(mixed, sizes_of(mixed), 32) == changed(EFFECT, sizes_of(EFFECT), 32)


def test_a_trial_is_shown_against_what_holds_now():
    held = effect_of(("hole", "a.png", False, 3, 2.0), ("hole", "b.png", False, 3, 0.1), ("hole", "x.png", False, 3, 0))
    rows = ("hole", "a.png", False, 3, 0.7), ("hole", "b.png", False, 3, 0.4), ("thread", "a.png", True, 3, 0)
    then = effect_of(*rows)
    found = against(held, then.assign(threshold_after=0.8, alarm_after=False))
    assert list(found.columns) == list(EFFECT_COLUMNS) and len(found) == 2
    assert found[["score_before", "threshold_before", "alarm_before"]].to_numpy().tolist() == [
        [2.0, 0.5, True], [0.1, 0.5, False],
    ]  # fmt: skip
    assert found["score_after"].tolist() == [0.7, 0.4] and found["alarm_kept"].tolist() == [True, False]
    assert [one.side for one in changed(found, sizes_of(found), 32)] == ["lost"]
    assert against(held.head(0), then) is then


def test_nothing_changed_sides():
    assert changed(effect_table(), {}, 32) == []
    assert "No image would change sides" in render_changes("title", "lead", EFFECT.head(0), [])
    same = effect_of(("good", "a.png", False, 0.1, 0.1))
    assert "No image changed sides" in render_normalities([Described(ODD, "x", "", None)], same, 0.05)


def test_an_image_that_the_manifest_lacks_is_named():
    with pytest.raises(NandError, match=r"hole/a\.png: not in the manifest; run the evaluate stage again"):
        changed(EFFECT, {}, 32)


@pytest.fixture(params=["normalities", "trial"])
def page(request) -> Page:
    found = changed(EFFECT, sizes_of(EFFECT), 32)
    if request.param == "trial":
        return Page(render_changes("What '<i>' would change", "<lead>", EFFECT, found, ["<u>phrases</u>"]))
    held = [Described(ODD, "<i>", "", {"phrases": ["<u>"], "provider": "rules"}), Described("a", "none", "", None)]
    return Page(render_normalities(held, EFFECT, 0.05, changed=found))


def test_every_image_has_its_mark_its_scores_and_a_lazy_picture(page):
    assert not page.open and not {tag for tag, _ in page.tags} & {"i", "u", "script", "lead"}
    pictures = shown(page)
    found = changed(EFFECT, sizes_of(EFFECT), 32)
    assert [one["src"] for one in pictures] == [one.picture for one in found]
    for one in pictures:
        assert (one["loading"], one["decoding"], one["width"], one["height"]) == ("lazy", "async", "140", "24")
        assert one["src"].startswith("changes/%3Cb%3E%26%22it%27s%7C%60%23%3F%25/")
        assert one["src"].endswith(".webp")
    said = " ".join("".join(page.texts).split())
    marks = ("lost alarm hole", "passes thread", "new alarm odd", "new false alarm good")
    at = [said.index(mark) for mark in marks]
    assert at == sorted(at)
    assert "before 2 > 1 alarm · " in said and "0.5 ≤ 0.5 passes" in said and "0.4 ≤ 0.5 passes" in said
    figures = [a["class"] for tag, a in page.tags if tag == "figure"]
    assert figures == [f"change d{d} k{k} {one.side}" for d, k, one in zip(
        [0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 2, 1, 2, 3, 3], found, strict=True)]  # fmt: skip


def test_filters_by_detector_and_kind_need_no_script(page):
    inputs = [a for tag, a in page.tags if tag == "input"]
    assert [a.get("class") for a in inputs if a["type"] == "radio"] == [
        None, "by-d0", "by-d1", None, "by-k0", "by-k1", "by-k2", "by-k3",
    ]  # fmt: skip
    assert [a["class"] for a in inputs if a["type"] == "checkbox"] == ["by-lost"]
    assert len({a["name"] for a in inputs if a["type"] == "radio"}) == 2
    said = "".join(page.texts)
    for rule in ("by-d1:checked) .change:not(.d1)", "by-k3:checked) .change:not(.k3)", "by-lost:checked)"):
        assert f".changes:has(.{rule}" in said
    assert "k4:checked" not in said
    labels = " ".join(said.split())
    assert "april_gan 7" in labels and "patchcore 1" in labels and "good 2" in labels and "hole 3" in labels
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv")]
    assert policy == "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"


def test_what_is_left_out_is_said():
    found = changed(EFFECT, sizes_of(EFFECT), 32, most=3)
    assert [one.side for one in found] == ["lost", "lost", "lost", "accepted"]
    said = " ".join("".join(Page(render_changes("title", "lead", EFFECT, found)).texts).split())
    assert "Shown are the first 4; 4 more are not." in said and "8 would change sides" in said
    assert LIMIT >= 2000


def test_close_scores_and_thresholds_are_told_apart():
    effect = effect_of(("hole", "a.png", False, 1.0004, 0.5))
    (one,) = changed(effect, sizes_of(effect), 32)
    assert one.before == ("1", "1") or float(one.before[0]) > float(one.before[1])
    assert one.after == ("0.5", "0.5")


@pytest.fixture
def maps(tmp_path) -> dict[str, np.ndarray]:
    """Maps in files: a detector's and those of two normalities; images in ``data``."""
    rng = np.random.default_rng(5)
    ids = pd.Series([f"{ODD}/test/hole/{i}.png" for i in range(4)])
    arrays = {name: rng.random((4, 16, 16), dtype=np.float32) for name in ("base", "one", "two")}
    for name, values in arrays.items():
        save_maps(tmp_path / f"{name}.npz", values, ids)
    for path in ids:
        save(tmp_path / "data" / path, rng.integers(0, 255, (30, 40, 3), dtype=np.uint8))
    return arrays | {"ids": ids.to_numpy()}


def drawn(folder: Path, ids: list[str], quality: int = 90, rule: Rule | None = None) -> dict[str, bytes]:
    images = {path: partial(read_image, folder / "data" / path) for path in ids}
    base, one, two = (sha256_file(folder / f"{name}.npz") for name in ("base", "one", "two"))
    files = {base: folder / "base.npz", one: folder / "one.npz", two: folder / "two.npz"}
    claims, rule = [Claimed(suppression=one, rivals=(two,)), Claimed(suppression=two)], rule or Rule(level=0.5)
    return dict(draw_strips(images, base, claims, files, rule, longest=32, quality=quality))


@pytest.mark.parametrize("rule", [Rule(level=0.5), Rule(level=None), Rule(alpha=0.3, level=0.7), Rule(regions=None)])
def test_a_strip_shows_what_the_scores_were_computed_with(tmp_path, maps, rule):
    ids = maps["ids"].tolist()
    found = drawn(tmp_path, ids[::-1], rule=rule)
    assert list(found) == [strip_name(path) for path in ids]
    seen = 1 - (1 - maps["one"]) * (1 - maps["two"])
    one, two = (torch.from_numpy(maps[name]) for name in ("one", "two"))
    final = final_maps(torch.from_numpy(maps["base"]), [Claim(one, (two,)), Claim(two)], rule).numpy()
    for i, path in enumerate(ids):
        picture = Image.open(io.BytesIO(found[strip_name(path)]))
        assert picture.format == "WEBP" and picture.size == strip_size((40, 30), 32) == (4 * 32 + 3 * GAP, 24)
        top = maps["base"][i].max()
        wanted = (maps["base"][i], top, ANOMALY), (seen[i], 1.0, SUPPRESSION), (final[i], top, ANOMALY)
        pixels = np.asarray(picture.convert("RGB"), dtype=float)
        for part, (values, most, ramp) in enumerate(wanted, start=1):
            own = pixels[:, part * (32 + GAP) : part * (32 + GAP) + 32]
            assert np.abs(own - coloured(levels(values, most, (32, 24)), ramp)).mean() < 16


def test_the_same_pixels_give_the_same_bytes(tmp_path, maps):
    ids = maps["ids"].tolist()
    assert drawn(tmp_path, ids) == drawn(tmp_path, ids)
    for name in ("a.zip", "b.zip"):
        write_archive(tmp_path / name, drawn(tmp_path, ids).items())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_map_without_anything_in_it_can_be_drawn():
    nothing = np.zeros((16, 16), np.float32)
    assert strip(Image.new("RGB", (5, 700)), (nothing, nothing, nothing), 64, 72)[:4] == b"RIFF"


def test_a_map_that_is_not_there_is_named(tmp_path, maps):
    with pytest.raises(NandError, match=r"base\.npz: has no map of other\.png"):
        drawn(tmp_path, ["other.png"])


def test_the_folder_holds_exactly_the_pictures(tmp_path, maps):
    ids, out = maps["ids"].tolist(), tmp_path / "changes"
    write_archive(tmp_path / "a.zip", drawn(tmp_path, ids).items())
    write_archive(tmp_path / "b.zip", drawn(tmp_path, ids[:2], quality=20).items())
    files = unpack({f"{ODD}/a": tmp_path / "a.zip", f"{ODD}/b": tmp_path / "b.zip"}, out)
    assert files == {path for path in out.rglob("*") if path.is_file()} and len(files) == 6
    untouched = {path: path.stat().st_mtime_ns for path in files}
    damaged = out / ODD / "a" / strip_name(ids[3])
    damaged.write_bytes(b"half")
    left = unpack({f"{ODD}/a": tmp_path / "a.zip"}, out)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert damaged.read_bytes() == archive.read(damaged.name)
    assert all(path.stat().st_mtime_ns == untouched[path] for path in files - {damaged})
    (out / ODD / "stray.webp").touch()
    keep_only(out, left)
    assert {path for path in out.rglob("*") if path.is_file()} == left
    assert not (out / ODD / "b").exists()
    keep_only(out, set())
    assert not out.exists()
    keep_only(out, set())
