"""Pruning removes what it was asked to, the least recently used first, and never what a run is using."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nand.cli.app import app
from nand_core.artifacts.store import Record, Store
from nand_core.artifacts.usage import (
    current_keys,
    note_current,
    parse_size,
    remove,
    superfluous,
    survey,
    task_of,
)
from nand_core.errors import NandError

NOW = 1_700_000_000


@dataclass(frozen=True)
class Item:
    """One item of a made-up store: several may share an object (``content``)."""

    name: str
    content: int
    days: int

    @property
    def key(self) -> str:
        return f"task_{self.content % 3}-{self.name}"

    @property
    def data(self) -> bytes:
        return bytes([self.content]) * (self.content * 10)


ITEMS = st.lists(
    st.builds(Item, st.text("abc", min_size=1, max_size=3), st.integers(0, 9), st.integers(0, 40)),
    max_size=12,
    unique_by=lambda item: item.key,
)


def fill(store: Store, items: list[Item]) -> dict[str, Record]:
    records = {}
    for item in items:
        records[item.key] = store.put(item.data, "npz")
        store.note(item.key, records[item.key])
        os.utime(store.records / item.key, (NOW - item.days,) * 2)
    return records


@settings(max_examples=60, deadline=None)
@given(ITEMS, st.data())
def test_what_goes_and_what_stays(items, data):
    keep = data.draw(st.sets(st.sampled_from([item.key for item in items]))) if items else set()
    days = data.draw(st.none() | st.integers(0, 40))
    limit = data.draw(st.none() | st.integers(0, 400))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(root=Path(folder))
        records = fill(store, items)
        for name in ("tmp", "locks"):
            (store.root / name).mkdir(exist_ok=True)
        (store.root / "tmp" / ".tmp-1.npz").write_bytes(b"half")
        (store.root / "locks" / "task_0-gone").touch()
        store.put(b"orphan", "npz")
        store.note("task_0-broken", Record(sha256="0" * 64, ext="npz", size=1))
        usage = survey(store)
        assert {key for one in usage.held for key in one.keys} == set(records)
        assert usage.size == sum({r.sha256: r.size for r in records.values()}.values())
        assert [len(x) for x in (usage.orphans, usage.broken, usage.temporary)] == [1, 1, 1]

        before = None if days is None else NOW - days
        gone = superfluous(usage, keep, before, limit)
        stays = [one for one in usage.held if one not in gone]
        free = [one for one in stays if not keep.intersection(one.keys)]
        assert not any(keep.intersection(one.keys) for one in gone)
        assert max((one.used for one in gone), default=0) <= min((one.used for one in free), default=NOW)
        if days is None and limit is None:
            assert free == []
        if days is not None:
            assert all(one.used >= before for one in free)
        if limit is not None:
            assert free == [] or sum(one.size for one in stays) <= limit
        elif days is not None:
            assert all(one.used < before for one in gone)

        remove(store, usage, gone)
        after = survey(store)
        assert after.held == tuple(stays)
        assert not (after.orphans or after.broken or after.temporary or list(store.locks.iterdir()))
        kept = {key for one in stays for key in one.keys}
        assert {key: store.lookup(key) for key in records} == {k: r if k in kept else None for k, r in records.items()}


@settings(max_examples=30, deadline=None)
@given(ITEMS.filter(bool), st.integers(0, 30))
def test_interrupted_at_any_moment_it_leaves_no_record_without_an_object(items, steps):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        store = Store(root=Path(folder))
        fill(store, items)
        usage, unlink, left = survey(store), Path.unlink, iter(range(steps))

        def killed(path: Path, missing_ok: bool = False) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            unlink(path, missing_ok)

        patch.setattr(Path, "unlink", killed)
        with suppress(KeyboardInterrupt):
            remove(store, usage, usage.held)
        assert not survey(store).broken


def test_a_hit_counts_as_use(tmp_path):
    store = Store(root=tmp_path)
    fill(store, [Item("a", 1, 30), Item("b", 2, 20)])
    store.lookup("task_1-a")
    assert [task_of(one.keys[0]) for one in survey(store).held] == ["task_2", "task_1"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("10GB", 10**10), ("1.5 GiB", 3 * 2**29), ("700", 700), ("3kb", 3000), (" 2 MiB ", 2**21), ("0", 0)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "10 XB", "1e3", "1,5GB", "ten", "9" * 400])
def test_no_sizes(text):
    with pytest.raises(NandError, match="is not a size"):
        parse_size(text)


def test_current_items_are_those_of_every_stage(tmp_path):
    note_current(tmp_path, "prompts", {"b", "a"})
    note_current(tmp_path, "base_maps@x", {"c"})
    note_current(tmp_path, "prompts", {"a"})
    assert current_keys(tmp_path, ["prompts", "base_maps@x"]) == {"a", "c"}
    with pytest.raises(NandError, match=r"report\.json: not there .* --older-than"):
        current_keys(tmp_path, ["prompts", "report"])


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """The store of a project of two stages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAND_STORE", raising=False)
    Path("dvc.yaml").write_text("stages: {prompts: {cmd: x}, base_maps: {foreach: y, do: {cmd: x}}}")
    Path("params.yaml").write_text("detectors: {winclip: {}}")
    store = Store(root=Path(".nand/store"))
    fill(store, [Item("now", 4, 1), Item("old", 5, 9), Item("before", 6, 20)])
    return store


def nand(*arguments: str) -> tuple[int, str]:
    said = CliRunner().invoke(app, ["cache", *arguments], env={"COLUMNS": "200"})
    return said.exit_code, said.output


def test_info(store):
    store.put(b"orphan", "npz")
    code, said = nand("info")
    assert code == 0
    assert all(text in said for text in ("task_0", "task_1", "task_2", "150 bytes", "1 objects without a record"))


def test_info_of_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = {Path("dvc.yaml"), Path("params.yaml")}
    for path in project:
        path.touch()
    assert nand("info")[0] == 0 and set(Path().iterdir()) == project
    assert nand("prune", "--max-size", "0") == (0, ".nand/store: nothing there\n")


def test_a_named_store_is_looked_after_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAND_STORE", "shared")
    assert nand("prune", "--max-size", "0") == (0, "shared: nothing there\n")
    assert list(tmp_path.iterdir()) == []


def test_prune_wants_to_know_what(store):
    code, said = nand("prune")
    assert code == 1 and said.startswith("error: say what may go") and said.count("\n") == 1
    assert len(survey(store).held) == 3


def test_prune_keeps_what_the_current_results_need(store):
    code, said = nand("prune", "--keep-current")
    assert code == 1 and "prompts.json" in said
    note_current(Path(".nand/used"), "prompts", {"task_1-now"})
    note_current(Path(".nand/used"), "base_maps@winclip", {"task_0-before"})
    note_current(Path(".nand/used"), "base_maps@gone", {"task_2-old"})
    code, said = nand("prune", "--keep-current", "--dry-run")
    assert code == 0 and "would remove 1 objects (50 bytes)" in said
    assert len(survey(store).held) == 3
    assert nand("prune", "--keep-current")[0] == 0
    assert {key for one in survey(store).held for key in one.keys} == {"task_1-now", "task_0-before"}
    assert nand("prune", "--keep-current", "--max-size", "0")[0] == 0
    assert len(survey(store).held) == 2


def test_prune_by_size_and_by_age(store):
    assert "removed 1 objects (60 bytes)" in nand("prune", "--max-size", "90B")[1]
    assert {key for one in survey(store).held for key in one.keys} == {"task_1-now", "task_2-old"}
    assert nand("prune", "--older-than", "10")[0] == 0
    assert survey(store).held == ()


def test_prune_waits_for_no_run_and_takes_nothing_from_it(store):
    with store.hold():
        code, said = nand("prune", "--max-size", "0")
        assert (code, said) == (1, "error: .nand/store: a run is using the cache; prune again when it has ended\n")
        assert nand("info")[0] == 0
    assert len(survey(store).held) == 3
    assert nand("prune", "--max-size", "0")[0] == 0


def test_a_run_waits_for_a_prune(store):
    ask = "import pathlib; from nand_core.artifacts.store import Store; "
    ask += "store = Store(root=pathlib.Path('.nand/store')); print(store.hold(wait=False)); "
    ask += "print('waits', flush=True); store.hold(); print('goes on')"
    with store.hold(alone=True):
        run = subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True)
        assert [run.stdout.readline() for _ in range(2)] == ["None\n", "waits\n"]
        assert run.poll() is None
    assert run.communicate(timeout=60)[0] == "goes on\n" and run.returncode == 0


def test_a_shared_store_is_not_pruned_to_one_checkouts_needs(store, tmp_path, monkeypatch):
    shared = Store(root=tmp_path / "shared")
    fill(shared, [Item("a", 1, 1)])
    monkeypatch.setenv("NAND_STORE", str(shared.root))
    for stage in ("prompts", "base_maps@winclip"):
        note_current(Path(".nand/used"), stage, set())
    code, said = nand("prune", "--keep-current")
    assert code == 1 and "other checkouts" in said
    assert nand("prune", "--keep-current", "--max-size", "0")[0] == 0
    assert survey(shared).held == () and len(survey(store).held) == 3
