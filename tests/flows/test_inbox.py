"""Where files of the inbox go, and what the rows say."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from inspection_line import LONG_AGO, Brightness, drop, inspect, names, png, prepared, rows
from PIL import Image

from flows.inbox.arrival import image_id, read
from flows.inbox.folder import Folder, below_checkout
from flows.inbox.rounds import Rounds
from flows.inbox.rows import SCHEMA, write_part
from nand_core.errors import NandError


def deep(value: int) -> bytes:
    """A 16-bit PNG of one value."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def test_each_image_gets_a_row_an_overlay_and_a_place(tmp_path):
    for grey in (10, 90, 130, 200, 250):
        drop(tmp_path, f"{grey}.png", png(grey))
    batches = inspect(tmp_path, commit="c0ffee")
    # By name: 10, 130, then 200, 250, then 90.
    assert [(batch.rows, batch.alarms) for batch in batches] == [(2, 1), (2, 2), (1, 0)]
    found = rows(tmp_path).set_index("name")
    assert sorted(found.index) == names(tmp_path, "done") == sorted(f"{grey}.png" for grey in (10, 90, 130, 200, 250))
    assert names(tmp_path, "inbox") == names(tmp_path, "taken") == names(tmp_path, "quarantine") == []
    assert found.loc["130.png", ["score_before", "score_after"]].tolist() == [130, 65]
    assert found["alarm_before"].to_dict() == {f"{grey}.png": grey > 100 for grey in (10, 90, 130, 200, 250)}
    assert found["alarm_after"].to_dict() == {f"{grey}.png": grey > 120 for grey in (10, 90, 130, 200, 250)}
    assert set(found["commit"]) == {"c0ffee"} and set(found["class"]) == {"carpet"}
    for name, row in found.iterrows():
        assert (tmp_path / "done/carpet" / f"{row['id']}-{name}").is_file()
        assert (tmp_path / row["overlay"]).stat().st_size > 0


def test_every_part_has_the_documented_columns(tmp_path):
    for class_name in ("carpet", "wood"):
        for grey in (10, 20, 30):
            drop(tmp_path, f"{grey}.png", png(grey), class_name)
    inspect(tmp_path, classes=("carpet", "wood"))
    judge = Brightness(normalities=(type("Asked", (), {"text": "thread"}),))
    drop(tmp_path, "later.png", png(40))
    inspect(tmp_path, judge, classes=("carpet", "wood"))
    parts = sorted((tmp_path / "rows").rglob("*.parquet"))
    assert [str(path.relative_to(tmp_path / "rows")) for path in parts] == [
        *(f"carpet/{number:08}.parquet" for number in (1, 2, 3)),
        *(f"wood/{number:08}.parquet" for number in (1, 2)),
    ]
    assert all(pq.read_schema(path).remove_metadata() == SCHEMA for path in parts)
    together = rows(tmp_path)
    assert len(together) == 7 and together["id"].is_unique
    assert str(together["time"].dtype) == "datetime64[us, UTC]"
    assert [list(texts) for texts in together.loc[together["name"] == "later.png", "normalities"]] == [["thread"]]
    assert (pd.Timestamp.now("UTC") - together["time"]).max() < pd.Timedelta("10 min")


def test_files_that_may_still_be_written_wait(tmp_path):
    now = time.time()
    drop(tmp_path, "fresh.png", png(1), when=now + 1000)  # of a camera whose clock is ahead
    drop(tmp_path, "written.png", png(1)[:-10], when=now)
    for name in (".hidden.png", "a.png.part", "b.tmp", "C.TMP"):
        drop(tmp_path, name, png(2))
    drop(tmp_path, "old.png", png(3))
    inspect(tmp_path, settle=60)
    assert names(tmp_path, "done") == ["old.png"] and names(tmp_path, "quarantine") == []
    assert Folder(tmp_path).waiting("carpet") == 2
    drop(tmp_path, "written.png", png(1))
    inspect(tmp_path, settle=60)
    assert names(tmp_path, "done") == ["old.png", "written.png"]
    inspect(tmp_path, settle=0)
    assert names(tmp_path, "done") == ["fresh.png", "old.png", "written.png"]
    assert names(tmp_path, "inbox") == [".hidden.png", "C.TMP", "a.png.part", "b.tmp"]


def test_a_file_that_is_written_to_after_it_was_taken_waits_too(tmp_path):
    folder = prepared(tmp_path)
    drop(tmp_path, "late.png", png(1)[:-10])
    path = folder.take("carpet", "late.png")
    path.write_bytes(png(1))
    inspect(tmp_path)
    assert names(tmp_path, "taken") == ["late.png"]
    os.utime(path, (LONG_AGO, LONG_AGO))
    inspect(tmp_path)
    assert names(tmp_path, "done") == ["late.png"] and len(rows(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.png", png(1, 64)[:-60], "cut.png: cannot be read"),
        ("text.png", b"not an image at all", "text.png: is no PNG, JPEG"),
        ("empty.png", b"", "empty.png: the file is empty"),
        ("deep.png", deep(2851), "deep.png: 16-bit values up to 2851, of a camera with fewer bits as it seems"),
        ("a\x1b[31m.txt", b"hello", r"a\x1b[31m.txt: not named as an image"),
        ("notes.txt", b"hello", "notes.txt: not named as an image (known: .bmp"),
        ("two\nlines.png", b"", "two lines.png: the file is empty"),
        (os.fsdecode(b"caf\xe9.png"), png(5), "the name is not UTF-8"),
        ("x" * 250 + ".jpg", b"?", "is no PNG, JPEG"),
    ],
)
def test_what_cannot_be_read_is_quarantined_with_the_reason(tmp_path, name, data, reason):
    drop(tmp_path, name, data)
    drop(tmp_path, "good.png", png(9))
    batches = inspect(tmp_path)
    assert list(rows(tmp_path)["name"]) == ["good.png"] and names(tmp_path, "inbox") == []
    (refused,) = [one for batch in batches for one in batch.refused]
    moved = tmp_path / "quarantine/carpet" / refused.kept_name
    assert moved.read_bytes() == data
    (line,) = moved.with_name(f"{moved.name}.reason.txt").read_text().splitlines()
    assert reason in line and line == refused.reason and str(tmp_path) not in line


def test_the_bits_of_the_data_set_count_in_the_inbox_too(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(deep(2851))
    assert read(path, "carpet", 12).picture.getpixel((0, 0)) == (178, 178, 178)
    assert "has the value 2851, 10 bits end at 1023" in read(path, "carpet", 10).reason


def test_links_and_pipes_are_not_opened(tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(png(1))
    root = tmp_path / "inspection"
    root.mkdir()
    prepared(root)
    (root / "inbox/carpet/link.png").symlink_to(outside)
    os.mkfifo(root / "inbox/carpet/pipe.png")
    inspect(root, settle=0)
    assert names(root, "quarantine") == ["link.png", "link.png.reason.txt", "pipe.png", "pipe.png.reason.txt"]
    assert outside.read_bytes() == png(1) and len(rows(root)) == 0


def test_an_image_that_cannot_be_judged_stops_no_other(tmp_path):
    for grey in (10, 20, 30, 40):
        drop(tmp_path, f"{grey}.png", png(grey))
    inspect(tmp_path, Brightness(cannot={20}), most=4)
    assert sorted(rows(tmp_path)["name"]) == ["10.png", "30.png", "40.png"]
    assert names(tmp_path, "quarantine") == ["20.png", "20.png.reason.txt"]
    (path,) = (tmp_path / "quarantine/carpet").glob("*.txt")
    assert path.read_text() == "20.png: cannot be judged (the map is not finite); check the image\n"


def test_where_no_image_can_be_judged_none_is_refused(tmp_path):
    drop(tmp_path, "10.png", png(10))
    with pytest.raises(RuntimeError, match="not finite"):
        inspect(tmp_path, Brightness(cannot={10, 128}))
    assert names(tmp_path, "quarantine") == [] and names(tmp_path, "taken") == ["10.png"]
    inspect(tmp_path)
    assert names(tmp_path, "done") == ["10.png"]


def test_a_name_that_comes_again_is_another_image_unless_it_has_the_same_content(tmp_path):
    drop(tmp_path, "a.png", png(10))
    drop(tmp_path, "b.png", png(10))
    inspect(tmp_path)
    drop(tmp_path, "a.png", png(11))
    drop(tmp_path, "b.png", png(10))
    batches = inspect(tmp_path)
    assert sum(batch.again for batch in batches) == 1
    found = rows(tmp_path)
    assert sorted(found["name"]) == ["a.png", "a.png", "b.png"] and found["id"].is_unique
    kept = {path.name: path.read_bytes() for path in (tmp_path / "done/carpet").iterdir()}
    assert sorted(kept.values()) == sorted([png(10), png(10), png(11)])
    assert set(kept) == {f"{row['id']}-{row['name']}" for row in found.to_dict("records")}


def test_a_name_that_comes_again_while_the_first_is_taken_waits_for_its_turn(tmp_path):
    folder = prepared(tmp_path)
    drop(tmp_path, "a.png", png(10))
    folder.take("carpet", "a.png")
    drop(tmp_path, "a.png", png(11))
    inspect(tmp_path)
    assert sorted(rows(tmp_path)["score_before"]) == [10, 11]
    assert len(set(rows(tmp_path)["id"])) == 2 and len(names(tmp_path, "done")) == 2


def test_a_file_that_is_taken_away_is_skipped(tmp_path):
    folder = prepared(tmp_path)
    gone = drop(tmp_path, "gone.png", png(1))
    drop(tmp_path, "here.png", png(2))
    rounds = Rounds(folder, ("carpet",), lambda _: gone.unlink(missing_ok=True) or Brightness(), settle=5)
    assert [batch.rows for batch in rounds] == [1]
    assert list(rows(tmp_path)["name"]) == ["here.png"]


def test_a_batch_is_no_larger_than_memory_allows(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.inbox.rounds.PIXELS", 3 * 64)
    for grey in range(7):
        drop(tmp_path, f"{grey}.png", png(grey))
    judge = Brightness()
    inspect(tmp_path, judge, most=5)
    assert judge.sizes == [3, 3, 1]


def test_classes_take_turns(tmp_path):
    for class_name in ("carpet", "wood"):
        for grey in range(4):
            drop(tmp_path, f"{grey}.png", png(grey), class_name)
    batches = inspect(tmp_path, classes=("carpet", "wood"))
    assert [batch.class_name for batch in batches] == ["carpet", "wood", "carpet", "wood"]


def test_what_belongs_to_no_class_is_named_and_stays(tmp_path):
    drop(tmp_path, "x.png", png(1), "carpett")
    drop(tmp_path, "y.png", png(1), "carpet/below")
    (tmp_path / "inbox/z.png").write_bytes(png(1))
    inspect(tmp_path)
    below, unknown, loose = Folder(tmp_path).strangers(["carpet"])
    assert "inbox/carpet/below: a folder in a class's inbox" in below
    assert "inbox/carpett: stays as it is, no such class; did you mean 'carpet'?" in unknown
    assert "inbox/z.png: stays as it is" in loose
    assert len(list((tmp_path / "inbox").rglob("*.png"))) == 3 and len(rows(tmp_path)) == 0


@pytest.mark.parametrize("place", ["inbox", "inbox/carpet", "taken", "done/carpet"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_the_folders_have_to_be_folders(tmp_path, place, kind):
    root, elsewhere = tmp_path / "inspection", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / place).parent.mkdir(parents=True)
    if kind == "link":
        (root / place).symlink_to(elsewhere)
    else:
        (root / place).write_text("")
    with pytest.raises(NandError, match=f"{place}: has to be a folder in the file system of"):
        prepared(root)
    assert list(elsewhere.iterdir()) == []


def test_one_inspection_at_a_time(tmp_path):
    with Folder(tmp_path).alone() as first, Folder(tmp_path).alone() as second:
        assert first and not second
    with Folder(tmp_path).alone() as third:
        assert third


@pytest.mark.parametrize("folder", ["", ".", "/x", "../x", "a/../../x", ".nand", "artifacts", "results/x", "a\n"])
def test_a_folder_outside_is_refused(folder):
    with pytest.raises(NandError, match=r"folder: .* cannot hold an inspection"):
        below_checkout(folder)


def test_a_folder_inside_is_taken():
    assert below_checkout("lines/one") == Path("lines/one")


def test_a_damaged_newest_part_is_named_when_it_is_needed(tmp_path):
    drop(tmp_path, "a.png", png(1))
    inspect(tmp_path)
    (tmp_path / "rows/carpet/00000001.parquet").write_bytes(b"nothing")
    folder = prepared(tmp_path)
    drop(tmp_path, "b.png", png(2))
    folder.take("carpet", "b.png")
    with pytest.raises(NandError, match=r"00000001\.parquet: not a readable part of rows"):
        inspect(tmp_path)
    assert names(tmp_path, "taken") == ["b.png"]


def test_parts_are_numbered_on(tmp_path):
    for number in (1, 2):
        assert write_part(tmp_path / "rows/carpet", []).name == f"{number:08}.parquet"
    (tmp_path / "rows/carpet/00000001.parquet").unlink()
    (tmp_path / "rows/carpet/99999999.parquet").touch()
    assert write_part(tmp_path / "rows/carpet", []).name == "100000000.parquet"


def test_ids_are_of_class_name_and_content(tmp_path):
    paths = [drop(tmp_path, name, png(1), class_name) for name in ("a.png", "b.png") for class_name in ("c", "d")]
    ids = [read(path, path.parent.name).id for path in paths]
    assert len(set(ids)) == 4 and all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    assert image_id("c", "a.png", "x") != image_id("ca", ".png", "x")
    assert read(tmp_path / "inbox/c/none.png", "c") is None
