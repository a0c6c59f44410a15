"""The pictures of the images that changed sides as an item, and as files beside their page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import flows.changes
from flows.changes import write_page
from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Record, Store, sha256_file
from nand_core.decision import Claimed
from nand_core.errors import NandError
from nand_core.report.strips import strip_name, write_archive
from nand_core.settings import Rule
from tasks.changes import StripsSpec, strips
from tasks.work import Work

IDS = ["carpet/test/hole/0.png", "carpet/test/hole/1.png"]


@pytest.fixture
def work(tmp_path) -> Work:
    made = Work.__new__(Work)
    made.root, made.store = tmp_path / "data", Store(root=tmp_path / "store")
    return made


def spec(folder: Path) -> StripsSpec:
    rng = np.random.default_rng(2)
    for path in IDS:
        (folder / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(folder / "data" / path)
    for name in ("base", "a", "b"):
        write_maps(folder / f"{name}.npz", IDS, [rng.random((2, 16, 16), dtype=np.float32)], size=16)
    files = {sha256_file(path): path for path in (folder / f"{name}.npz" for name in ("base", "a", "b"))}
    base, one, two = files
    return StripsSpec(
        images=tuple((path, sha256_file(folder / "data" / path)) for path in IDS),
        base=base,
        claims=(Claimed(suppression=one, rivals=(two,)), Claimed(suppression=two)),
        files=files,
        rule=Rule(level=0.4),
        panel=32,
        quality=80,
    )


def test_pictures_are_one_record_whose_key_is_content_alone(tmp_path, work):
    made = spec(tmp_path)
    record = strips(made, work)
    assert record == strips(made, work) and record.ext == "zip"
    key = made.key()
    assert str(tmp_path) not in str(key)
    for other in ({"rule": Rule(level=0.5)}, {"images": made.images[:1]}, {"claims": made.claims[:1]}, {"panel": 40}):
        assert made.model_copy(update=other).key() != key
    assert made.model_copy(update={"base_path": tmp_path / "elsewhere.npz"}).key() == key


def archive(work: Work, **files: bytes) -> Record:
    with work.store.writing("zip") as put:
        write_archive(put.path, ((f"{name}.webp", data) for name, data in files.items()))
    return put.record


def lying(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_class_named_leaves_the_others_pictures(tmp_path, work):
    run, page = SimpleNamespace(work=work), tmp_path / "report/normalities.html"
    both = {("carpet", "a"): archive(work, x=b"1", y=b"2"), ("wood", "a"): archive(work, z=b"3")}
    write_page(run, page, "<p>1", both)
    assert lying(page.parent) == {
        "normalities.html": b"<p>1", "changes/carpet/a/x.webp": b"1", "changes/carpet/a/y.webp": b"2",
        "changes/wood/a/z.webp": b"3",
    }  # fmt: skip
    write_page(run, page, "<p>2", {("carpet", "b"): archive(work, x=b"4")}, "carpet")
    assert lying(page.parent) == {
        "normalities.html": b"<p>2", "changes/carpet/b/x.webp": b"4", "changes/wood/a/z.webp": b"3",
    }  # fmt: skip
    write_page(run, page, "<p>3", {}, "carpet")
    assert not (page.parent / "changes/carpet").exists()
    write_page(run, page, "<p>4", {})
    assert lying(page.parent) == {"normalities.html": b"<p>4"} and not (page.parent / "changes").exists()


def test_what_is_stopped_in_between_leaves_a_page_with_its_pictures(tmp_path, work, monkeypatch):
    run, page = SimpleNamespace(work=work), tmp_path / "report/normalities.html"
    write_page(run, page, "<p>old", {("carpet", "a"): archive(work, old=b"1")})

    def stopped(*_: object) -> None:
        raise NandError("no room")

    new = {("carpet", "a"): archive(work, new=b"2")}
    for step in ("unpack", "replacing", "keep_only"):
        with monkeypatch.context() as patch:
            patch.setattr(flows.changes, step, stopped)
            with pytest.raises(NandError, match="no room"):
                write_page(run, page, "<p>new", new)
        found = lying(page.parent)
        assert not [name for name in found if ".tmp-" in name]
        assert found[f"changes/carpet/a/{found['normalities.html'].decode()[3:]}.webp"]
    write_page(run, page, "<p>new", new)
    assert lying(page.parent) == {"normalities.html": b"<p>new", "changes/carpet/a/new.webp": b"2"}


def test_an_image_that_is_gone_is_named(tmp_path, work):
    made = spec(tmp_path)
    (tmp_path / "data" / IDS[1]).unlink()
    with pytest.raises(NandError, match=r"hole/1\.png: no such file"):
        strips(made, work)
    assert not list((tmp_path / "store").rglob("*.zip"))
    assert strip_name(IDS[0]) != strip_name(IDS[1])
