"""Two workers with one second level: each takes what the other computed, and nothing wrong from anybody."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from nand_core.artifacts import remote
from nand_core.artifacts.remote import SharedStore, open_store, within_reach
from nand_core.artifacts.store import Record, Store
from nand_core.errors import NandError
from tasks import code

KEY = "suppression-" + "0" * 64
DATA = b"some bytes"


class Faulty(MemoryFileSystem):
    """Files in memory; ``error`` is what the methods in ``failing`` raise."""

    protocol = "faulty"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]
        self.error: Exception = ConnectionError("no route to host")
        self.failing: set[str] = set()
        self.calls: list[str] = []

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method in self.failing:
            raise self.error

    def cat_file(self, path, *args, **kwargs):
        self._called("cat_file")
        return super().cat_file(path, *args, **kwargs)

    def get_file(self, rpath, lpath, **kwargs):
        self._called("get_file")
        return super().get_file(rpath, lpath, **kwargs)

    def put_file(self, lpath, rpath, **kwargs):
        self._called("put_file")
        return super().put_file(lpath, rpath, **kwargs)

    def pipe_file(self, path, value, **kwargs):
        self._called("pipe_file")
        return super().pipe_file(path, value, **kwargs)


def worker(folder: Path, files: fsspec.AbstractFileSystem, base: str = "/team/nand") -> SharedStore:
    return SharedStore(root=folder, url=f"faulty:/{base}", files=files, base=base)


def compute(store: Store, key: str = KEY, data: bytes = DATA) -> Record:
    record = store.put(data, "npz")
    store.note(key, record)
    return record


@pytest.fixture
def files() -> Faulty:
    return Faulty()


@pytest.fixture
def workers(tmp_path, files) -> tuple[SharedStore, SharedStore]:
    return worker(tmp_path / "one", files), worker(tmp_path / "two", files)


def names(files: fsspec.AbstractFileSystem, base: str = "/team/nand") -> set[str]:
    return {path.removeprefix(f"{base}/") for path in files.find(base)}


def test_what_one_computed_the_other_fetches_once(workers, files):
    one, two = workers
    record = compute(one)
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert names(files) == {f"records/{KEY}", f"objects/{sha256[:2]}/{sha256}.npz"}
    assert files.cat(f"/team/nand/records/{KEY}") == (one.records / KEY).read_bytes()
    assert files.calls[:2] == ["put_file", "pipe_file"], "the object before the record that names it"
    assert two.lookup(KEY) == record and two.path(record).read_bytes() == DATA
    files.calls.clear()
    assert two.lookup(KEY) == record
    assert files.calls == []
    assert two.lookup("suppression-1") is None


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 999])
@pytest.mark.parametrize("address", ["file://{folder}/not/yet/there", "memory://{name}/nand", "file://{folder}"])
def test_real_file_systems(tmp_path, address, data):
    url = address.format(folder=tmp_path / "shared", name=tmp_path.name)
    (tmp_path / "shared").mkdir()
    one, two = (open_store(tmp_path / name, {"NAND_STORE": url}) for name in ("one", "two"))
    record = compute(one, data=data)
    assert two.lookup(KEY) == record and two.path(record).read_bytes() == data
    copy = Store(root=tmp_path / "copy")
    one.files.get(f"{one.base}/", f"{copy.root}/", recursive=True)
    assert copy.lookup(KEY) == record, "both levels are laid out alike"


@pytest.mark.parametrize("damage", [DATA[:-1], DATA + b"x", b"", bytes([DATA[0] ^ 1]) + DATA[1:], None])
def test_a_damaged_object_is_not_taken_and_is_replaced(workers, files, damage):
    one, two = workers
    record = compute(one)
    path = two._there(record)
    files.pipe(path, damage) if damage is not None else files.rm(path)
    assert two.lookup(KEY) is None
    assert not [path for path in two.root.rglob("*") if path.is_file()]
    compute(two)
    assert files.cat(path) == DATA


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"sha256": "../../x", "ext": "npz", "size": 1}', b"\x80\x04N."])
def test_an_unreadable_record_is_none(workers, files, text, caplog):
    one, two = workers
    record = compute(one)
    files.pipe(f"/team/nand/records/{KEY}", text)
    assert two.lookup(KEY) is None and caplog.records == []
    assert compute(two) == record and worker(two.root.parent / "three", files).lookup(KEY) == record


@pytest.mark.parametrize("method", ["cat_file", "get_file", "put_file", "pipe_file"])
@pytest.mark.parametrize("error", [ConnectionError("down"), PermissionError(13, "no"), RuntimeError("?")])
def test_out_of_reach_costs_one_warning(workers, files, caplog, method, error):
    one, two = workers
    compute(one, "suppression-1")
    files.failing, files.error = {method}, error
    files.calls.clear()
    for i in range(1, 4):
        key = f"suppression-{i}"
        if two.lookup(key) is None:
            compute(two, key)
        assert two.lookup(key) is not None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    said = caplog.messages[0]
    assert said.startswith("NAND_STORE faulty://team/nand cannot be ") and type(error).__name__ in said
    assert files.calls.count(method) == 1


def test_a_place_that_takes_nothing_still_gives(workers, files, caplog):
    one, two = workers
    compute(one, "suppression-2")
    files.failing = {"put_file"}
    compute(two, "suppression-1")
    assert two.lookup("suppression-2") is not None
    assert ["written" in text for text in caplog.messages] == [True]


def test_a_place_that_does_not_answer(workers, files, caplog, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE", 0.01)
    monkeypatch.setattr(files, "cat_file", lambda path: time.sleep(30))
    assert workers[0].lookup(KEY) is None and workers[0].lookup(KEY) is None
    assert ["TimeoutError" in text for text in caplog.messages] == [True]


def test_a_missing_bucket_is_not_made(workers, files, monkeypatch, caplog):
    files.failing, files.error = {"put_file"}, FileNotFoundError("The specified bucket does not exist")
    monkeypatch.setattr(files, "makedirs", lambda *args, **kwargs: pytest.fail("makes a bucket"))
    compute(workers[0])
    assert ["bucket does not exist" in text for text in caplog.messages] == [True]


def test_an_error_of_the_own_disk_is_no_fault_of_the_remote(workers, monkeypatch):
    one, two = workers
    compute(one)
    monkeypatch.setattr(Store, "note", lambda *args: (_ for _ in ()).throw(NandError("disk full")))
    with pytest.raises(NandError, match="disk full"):
        two.lookup(KEY)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["compute", "ask", "lose", "spoil local", "spoil remote", "fail", "mend"]),
        st.integers(0, 1),
        st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(ACTS, st.randoms(use_true_random=False))
def test_nobody_is_ever_given_anything_wrong(acts, random):
    with tempfile.TemporaryDirectory() as folder:
        files = Faulty()
        stores = [worker(Path(folder) / str(i), files) for i in range(2)]
        shared: set[int] = set()
        sound = True
        for act, who, what in acts:
            store, key, data = stores[who], f"task-{what}", bytes([what]) * (what * 40)
            lost = bool(store._lost)
            if act == "compute":
                compute(store, key, data)
                shared |= set() if lost or files.failing else {what}
            elif act == "ask":
                found = store.lookup(key)
                assert found is None or store.path(found).read_bytes() == data
                assert found is not None or lost or files.failing or not sound or what not in shared
            elif act == "lose":
                local = Store(root=store.root)
                if (found := local.lookup(key)) is not None:
                    local.path(found).unlink()
            elif act == "spoil local":
                _spoil([path for path in store.root.rglob("*") if path.is_file()], random)
            elif act == "spoil remote" and (paths := files.find("/team")):
                sound = False
                path = random.choice(paths)
                content = MemoryFileSystem.cat_file(files, path)
                MemoryFileSystem.pipe_file(files, path, content[: random.randrange(len(content) + 1)] + b"?")
            elif act == "fail":
                files.failing = {random.choice(["cat_file", "get_file", "put_file", "pipe_file"])}
            elif act == "mend":
                files.failing = set()
                stores[who] = worker(store.root, files)


def _spoil(paths: list[Path], random) -> None:
    if paths:
        path = random.choice(sorted(paths))
        path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("named", ["", "  "])
def test_without_a_name_the_store_is_in_the_project(tmp_path, named):
    assert open_store(tmp_path, {"NAND_STORE": named}) == open_store(tmp_path, {}) == Store(root=tmp_path / "store")


def test_a_folder_is_the_store_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store(tmp_path, {"NAND_STORE": "~/shared"}) == Store(root=tmp_path / "shared")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("foo://bar", "NAND_STORE: foo:// cannot be used"),
        ("memory://", "names no bucket and no folder"),
        ("s3://me:secret@bucket/x", "give no user, password or token in the address"),
        ("https://host/x?token=secret", "give no user, password or token in the address"),
        ("{file}", "file: not a folder"),
    ],
)
def test_what_cannot_be_a_store(tmp_path, named, message):
    (tmp_path / "file").touch()
    with pytest.raises(NandError, match=message) as refused:
        open_store(tmp_path, {"NAND_STORE": named.format(file=tmp_path / "file")})
    assert "secret" not in str(refused.value)


def test_a_run_leaves_out_what_does_not_answer(tmp_path, caplog):
    environment = {"NAND_STORE": f"file://{tmp_path}/shared", "HOME": "/"}
    assert within_reach(tmp_path, environment) == environment and caplog.records == []
    refused = {"NAND_STORE": "http://127.0.0.1:9/nand", "HOME": "/"}
    assert within_reach(tmp_path, refused) == {"HOME": "/"}
    assert len(caplog.records) == 1
    for other in ({"HOME": "/"}, {"NAND_STORE": str(tmp_path), "HOME": "/"}):
        assert within_reach(tmp_path, other) == other


def test_no_key_depends_on_where_the_store_is(monkeypatch):
    seen: list[str] = []
    find = code._source
    monkeypatch.setattr(code, "_source", lambda name: seen.append(name) or find(name))
    code.own_sources.cache_clear()
    code.code_digest.cache_clear()
    code.code_digest("tasks.suppression")
    assert "nand_core.artifacts.store" in seen and "nand_core.artifacts.remote" not in seen
