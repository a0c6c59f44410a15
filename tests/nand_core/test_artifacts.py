"""The store takes nothing damaged for good, and files of maps read back as they were written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nand_core.artifacts.maps import MapFile, write_maps
from nand_core.artifacts.store import Record, Store, digest, replacing
from nand_core.errors import NandError


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(root=tmp_path / "store")


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_put_names_bytes_by_their_sha256(store):
    record = store.put(b"some bytes", "json")
    assert record == Record(sha256=hashlib.sha256(b"some bytes").hexdigest(), ext="json", size=10)
    assert store.holds(record)
    assert store.put(b"some bytes", "json") == record
    name = f"objects/{record.sha256[:2]}/{record.sha256}.json"
    assert files(store.root) == {name: b"some bytes"}


def test_a_failed_write_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.writing("npz") as put:
        put.path.write_bytes(b"half")
        raise RuntimeError
    assert files(store.root) == {}


@pytest.mark.parametrize(
    "damage",
    [lambda b: bytes([b[0] ^ 1]) + b[1:], lambda b: b[:-1], lambda b: b"", lambda b: b + b"x"],
    ids=["flip", "truncated", "empty", "longer"],
)
def test_a_damaged_object_is_not_held_and_goes(store, damage):
    record = store.put(b"some bytes", "npz")
    store.path(record).write_bytes(damage(b"some bytes"))
    assert not store.holds(record)
    assert not store.path(record).exists()
    assert not store.holds(record)


def test_a_wrong_size_in_a_record_costs_no_object(store):
    record = store.put(b"some bytes", "npz")
    assert not store.holds(record.model_copy(update={"size": 9}))
    assert store.holds(record)


def test_an_empty_object_is_an_object(store):
    assert store.holds(store.put(b"", "json"))


KEY = "evaluate-" + "0" * 64


@pytest.fixture
def noted(store) -> Record:
    """An object and its record."""
    record = store.put(b"some bytes", "npz")
    store.note(KEY, record)
    return record


def test_what_was_noted_is_found(store, noted):
    assert store.lookup(KEY) == noted
    assert json.loads((store.records / KEY).read_text()) == noted.model_dump()
    assert store.lookup("evaluate-1") is None


def test_a_hit_marks_the_record_as_used(store, noted):
    os.utime(store.records / KEY, (1, 1))
    assert store.lookup(KEY) == noted
    assert time.time() - (store.records / KEY).stat().st_mtime < 60


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"text"', "{}", '{"sha256": "0", "ext": "npz", "size": 1}',
        '{"metadata": {"serializer": {"type": "pickle"}}, "result": "gASVAAAA"}',
    ],
)  # fmt: skip
def test_an_unreadable_record_goes(store, noted, text):
    (store.records / KEY).write_text(text)
    assert store.lookup(KEY) is None
    assert not (store.records / KEY).exists() and store.holds(noted)


@pytest.mark.parametrize("content", [b"some bytez", b"some", b"", None])
def test_a_record_of_a_damaged_object_goes_with_it(store, noted, content):
    store.path(noted).write_bytes(content) if content is not None else store.path(noted).unlink()
    assert store.lookup(KEY) is None
    assert files(store.root) == {}


def test_looking_into_no_store_makes_none(store):
    assert store.lookup(KEY) is None
    assert not store.root.exists()


def test_many_hold_a_store_or_one_alone(store):
    first = store.hold()
    with first, store.hold(wait=False):
        assert store.hold(alone=True, wait=False) is None
    with store.hold(alone=True, wait=False):
        assert store.hold(wait=False) is None
        assert store.hold(alone=True, wait=False) is None
    store.hold(wait=False).close()


def test_a_killed_holder_holds_nothing(store):
    ask = "import sys, pathlib; from nand_core.artifacts.store import Store; "
    ask += "file = Store(root=pathlib.Path(sys.argv[1])).hold(); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", ask, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert store.hold(alone=True, wait=False) is None
        process.kill()
    store.hold(alone=True, wait=False).close()


def test_digest_ignores_the_order_of_keys_and_refuses_nan():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))


def test_materialise_makes_the_folder_exactly_the_records(store, tmp_path):
    out = tmp_path / "out"
    records = {"a/x.txt": store.put(b"x", "txt"), "b/y.txt": store.put(b"y", "txt"), "z.txt": store.put(b"z", "txt")}
    for stranger in ("stranger", "old/deep/f", "z.txt/f", "a"):
        (out / stranger).parent.mkdir(parents=True, exist_ok=True)
        (out / stranger).write_bytes(b"stranger")
    (out / "link").symlink_to(store.root)
    store.materialise(records, out)
    assert files(out) == {"a/x.txt": b"x", "b/y.txt": b"y", "z.txt": b"z"}
    assert {path.name for path in out.iterdir()} == {"a", "b", "z.txt"}
    assert all(store.holds(record) for record in records.values())


def test_materialise_leaves_right_files_alone_and_mends_wrong_ones(store, tmp_path):
    out = tmp_path / "out"
    records = {"good": store.put(b"good", "txt"), "bad": store.put(b"fine", "txt")}
    store.materialise(records, out)
    before = (out / "good").stat()
    (out / "bad").write_bytes(b"fins")
    store.materialise(records, out)
    assert files(out) == {"good": b"good", "bad": b"fine"}
    after = (out / "good").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_replacing_takes_the_place_at_the_end_only(tmp_path):
    path = tmp_path / "new" / "file.json"
    with replacing(path) as temporary:
        temporary.write_bytes(b"first")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"second")
        raise RuntimeError
    assert files(tmp_path) == {"new/file.json": b"first"}


MAPS = arrays(
    np.float32,
    array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6).map(lambda s: (s[0], s[1], s[1])),
    elements=st.floats(0, 1e6, width=32),
)


@settings(max_examples=40, deadline=None)
@given(MAPS, st.data())
def test_maps_read_back_as_written(maps, data):
    cut = data.draw(st.integers(0, len(maps)))
    ids = [f"carpet/é {i}.png" for i in range(len(maps))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "maps.npz"
        write_maps(path, ids, [maps[:cut], maps[cut:]], size=maps.shape[1])
        stored = MapFile(path)
        assert stored.ids == tuple(ids) and len(stored) == len(ids)
        i, j = data.draw(st.integers(0, len(maps) - 1)), data.draw(st.integers(0, len(maps)))
        with np.load(path, allow_pickle=False) as loaded:
            assert np.array_equal(loaded["maps"], maps) and loaded["ids"].tolist() == ids
            assert np.array_equal(stored[i], loaded["maps"][i])
            assert np.array_equal(stored[i:j], loaded["maps"][i:j])
        assert np.array_equal(np.concatenate(list(stored.batches(2))), maps)


def test_maps_of_no_image(tmp_path):
    write_maps(tmp_path / "maps.npz", [], [], size=4)
    stored = MapFile(tmp_path / "maps.npz")
    assert len(stored) == 0 and stored[:].shape == (0, 4, 4) and list(stored.batches()) == []


def test_maps_of_savez_are_read(tmp_path):
    maps = np.random.default_rng(0).random((3, 4, 5))
    np.savez(tmp_path / "maps.npz", maps=maps, ids=np.array(["a", "b", "c"]))
    stored = MapFile(tmp_path / "maps.npz")
    assert stored.ids == ("a", "b", "c") and np.array_equal(stored[1], maps[1])


def changed(value: float) -> np.ndarray:
    maps = np.ones((3, 4, 4), np.float32)
    maps[1, 2, 3] = value
    return maps


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (changed(np.nan), "map of b has NaN or negative"),
        (changed(-1e-7), "map of b has NaN or negative"),
        (changed(1)[:2], "2 maps for 3 images"),
        (np.concatenate([changed(1), changed(np.nan)[1:2]]), "more maps than the 3 images"),
        (np.ones((3, 4, 5)), r"shape \(4, 5\), expected \(4, 4\)"),
    ],
)
def test_write_maps_refuses(tmp_path, maps, message):
    with pytest.raises(NandError, match=message):
        write_maps(tmp_path / "maps.npz", ["a", "b", "c"], [maps[:1], maps[1:]], size=4)


def test_compressed_maps_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "maps.npz", maps=changed(1), ids=np.array(["a", "b", "c"]))
    with pytest.raises(NandError, match=r"maps\.npz: maps are compressed"):
        MapFile(tmp_path / "maps.npz")


@pytest.mark.parametrize(
    "content",
    [
        {"ids": np.array(["a", "b", "c"])},
        {"maps": changed(1)},
        {"maps": changed(1), "ids": np.array(["a"])},
        {"maps": changed(1)[0], "ids": np.array(["a", "b", "c", "d"])},
        {"maps": changed(1).astype(object), "ids": np.array(["a", "b", "c"])},
    ],
)
def test_other_arrays_are_refused(tmp_path, content):
    np.savez(tmp_path / "maps.npz", **content)
    with pytest.raises(NandError, match=r"maps\.npz"):
        MapFile(tmp_path / "maps.npz")


def test_every_truncation_is_one_error_that_names_the_file(tmp_path):
    path = tmp_path / "maps.npz"
    write_maps(path, ["a", "b", "c"], [changed(1)], size=4)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(NandError, match=r"maps\.npz"):
            MapFile(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_raises_nothing_but_nand_error(tmp_path, save):
    path = tmp_path / "maps.npz"
    save(path, maps=changed(1), ids=np.array(["a", "b", "c"]))
    whole = path.read_bytes()
    refused = 0
    for i in range(0, len(whole), 5):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :])
        try:
            MapFile(path)
        except NandError:
            refused += 1
    assert refused


def test_a_missing_file_of_maps(tmp_path):
    with pytest.raises(NandError, match=r"none\.npz: not a readable file of maps"):
        MapFile(tmp_path / "none.npz")
