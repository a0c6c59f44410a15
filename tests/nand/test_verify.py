"""``nand cache verify`` finds every damaged byte, mends what the second level has and removes nothing that is right."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nand.cli.app import app
from nand_core.artifacts import store as store_module
from nand_core.artifacts.remote import open_store
from nand_core.artifacts.store import Record, Store
from nand_core.artifacts.usage import survey
from nand_core.artifacts.verify import verify

DATA = {f"task_{number}-{number}": bytes([number]) * 100 * number for number in range(1, 6)}


@pytest.fixture
def named(tmp_path, monkeypatch) -> str:
    """The address of a second level that has everything."""
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml"):
        Path(name).touch()
    fill(open_store(Path(".nand"), {"NAND_STORE": f"file://{tmp_path}/far"}))
    return f"file://{tmp_path}/far"


def fill(store: Store) -> dict[str, Record]:
    records = {key: store.put(data, "npz") for key, data in DATA.items()}
    for key, record in records.items():
        store.note(key, record)
    return records


def nand(**environment: str) -> tuple[int, list[str]]:
    said = CliRunner().invoke(app, ["cache", "verify"], env={"COLUMNS": "200", "NAND_STORE": None, **environment})
    return said.exit_code, said.output.splitlines()


def damage(store: Store) -> dict[str, Path]:
    """A flipped byte, a lost object, a torn record, an object without a record cut off."""
    path = {key: store.path(Record.model_validate_json((store.records / key).read_bytes())) for key in DATA}
    flipped = bytearray(path["task_1-1"].read_bytes())
    flipped[50] ^= 4
    path["task_1-1"].write_bytes(flipped)
    path["task_2-2"].unlink()
    (store.records / "task_3-3").write_bytes(b"\0" * 40)
    orphan = store.path(store.put(b"nobody's", "json"))
    orphan.write_bytes(b"nobody")
    return path | {"orphan": orphan}


def test_what_is_right_stays_and_says_so(named):
    store = Store(root=Path(".nand/store"))
    before = survey(store)
    assert nand() == (0, [".nand/store: 5 objects (1.5 kB) read, none damaged"])
    assert survey(store) == before, "and it does not count as use"


def test_without_a_second_level_it_is_removed_and_computed_again(named):
    store = Store(root=Path(".nand/store"))
    path = damage(store)
    code, said = nand()
    again = "damaged, removed: it is computed again when it is needed"
    assert code == 1 and sorted(said) == sorted([
        f"{store.records}/task_3-3 (task_3): {again}",
        f"{path['task_1-1']} (task_1): {again}",
        f"{path['task_2-2']} (task_2): {again}",
        f"{path['orphan']} (of no record): {again}",
        ".nand/store: 5 objects (1.3 kB) read, 4 damaged",
    ])  # fmt: skip
    assert {key for key in DATA if store.lookup(key)} == {"task_4-4", "task_5-5"}
    assert nand() == (0, [".nand/store: 3 objects (1.2 kB) read, none damaged"])
    assert fill(store) and nand()[0] == 0


def test_a_second_level_mends(named):
    store = Store(root=Path(".nand/store"))
    path = damage(store)
    code, said = nand(NAND_STORE=named)
    assert code == 1 and len(said) == 5, "the object that no record names is of no use, and nobody has it"
    assert [line for line in said if "removed" in line] == [
        f"{path['orphan']} (of no record): damaged, removed: it is computed again when it is needed"
    ]
    assert sum("damaged, fetched again" in line for line in said) == 3
    for key, data in DATA.items():
        assert path[key].read_bytes() == data and store.lookup(key)
    path["task_1-1"].write_bytes(b"")
    assert nand(NAND_STORE=named)[0] == 0


def test_what_was_evicted_there_as_well_is_removed(named):
    store = Store(root=Path(".nand/store"))
    path = damage(store)
    (Path("far") / path["task_1-1"].relative_to(store.root)).unlink()
    (Path("far") / path["task_2-2"].relative_to(store.root)).write_bytes(b"damaged there")
    code, said = nand(NAND_STORE=named)
    assert code == 1 and sum("removed" in line for line in said) == 3
    shared = open_store(Path(".nand"), {"NAND_STORE": named})
    assert {key for key in DATA if shared.lookup(key)} == {"task_3-3", "task_4-4", "task_5-5"}


def test_a_record_of_another_size(named):
    store = Store(root=Path(".nand/store"))
    record = store.lookup("task_4-4")
    store.note("task_4-4", record.model_copy(update={"size": 3}))
    code, said = nand()
    assert code == 1 and said[0].startswith(f"{store.records}/task_4-4 (task_4): damaged, removed")
    assert store.holds(record), "the object is right"


def test_objects_are_read_in_parts_and_progress_is_told(named, monkeypatch):
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("reads all of a file at once"))
    found = verify(Store(root=Path(".nand/store")), lambda *call: told.append(call))
    assert (found.objects, found.size, found.damaged) == (5, 1500, ())
    assert len(told) == 5 and told == sorted(told) and told[-1] == (1500, 1500)


@pytest.mark.parametrize(("number", "outcome"), [(errno.EIO, "removed"), (errno.EACCES, "unreadable")])
def test_a_sector_that_is_gone_and_a_right_that_is_missing(named, monkeypatch, number, outcome):
    store = Store(root=Path(".nand/store"))
    bad = store.path(store.lookup("task_2-2"))

    def refused(path: Path) -> str:
        if path == bad:
            raise OSError(number, os.strerror(number), str(path))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr("nand_core.artifacts.verify.sha256_file", refused)
    monkeypatch.setattr(Store, "holds", lambda store, record: False)
    (fault,) = verify(store).damaged
    assert (fault.path, fault.keys, fault.outcome) == (bad, ("task_2-2",), outcome)
    assert bad.exists() == (outcome == "unreadable")


def test_not_while_it_is_pruned(named):
    with Store(root=Path(".nand/store")).hold(alone=True):
        assert nand()[0] == 1 and "is being pruned; verify again" in nand()[1][0]
    with Store(root=Path(".nand/store")).hold():
        assert nand()[0] == 0, "beside a run"


def test_an_object_that_a_run_has_just_replaced_is_not_removed(named, monkeypatch):
    """Who found it damaged must not remove the right one that another process has put in its place meanwhile."""
    store = Store(root=Path(".nand/store"))
    record, key = store.lookup("task_2-2"), "task_2-2"
    store.path(record).write_bytes(b"damaged")
    digest = hashlib.file_digest

    def slow(file, name):
        monkeypatch.setattr(store_module.hashlib, "file_digest", digest)
        found = digest(file, name)
        fill(store)
        return found

    monkeypatch.setattr(store_module.hashlib, "file_digest", slow)
    assert store.lookup(key) is None
    assert store.lookup(key) == record


def test_a_clock_that_was_set_back(named):
    """What was used before that has a time that is yet to come: it is neither kept for ever nor the last to go."""
    store = Store(root=Path(".nand/store"))
    for key in DATA:
        os.utime(store.records / key, (time.time() + 10**8,) * 2)
    assert all(one.used <= time.time() for one in survey(store).held)
