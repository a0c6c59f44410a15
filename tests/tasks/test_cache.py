"""A key holds all that a result depends on, and a hit is a hit only with an intact object."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from prefect.results import ResultRecord, ResultRecordMetadata, ResultStore
from prefect.serializers import PickleSerializer

from flows.inputs import STAGES
from nand_core.artifacts.store import Record, Store, sha256_file
from nand_core.decision import Claimed
from nand_core.protocol import EvaluationSettings
from nand_core.settings import ExampleSettings, Rule
from nand_core.vlm.settings import EncoderSettings, TileSettings
from tasks import code
from tasks.cache import Spec, item, item_key
from tasks.code import code_digest
from tasks.evaluate import EvaluateSpec
from tasks.examples import GoodSpec
from tasks.image_features import EncodeSpec, Shard, ShardBatch
from tasks.locks import FlockManager
from tasks.prefect_tasks import ContentKey
from tasks.prompts import PromptSpec
from tasks.records import StoreRecords
from tasks.scores import BaseScoreSpec, ScoreSpec
from tasks.suppression import suppression


def record(digit: str) -> Record:
    return Record(sha256=digit * 64, ext="npy", size=1)


SPECS = {
    EncodeSpec: (
        {"images": ("a" * 64,), "paths": ("a.png",), "encoder": {"model": "embedded"}},
        {"images": ("b" * 64,), "paths": ("b.png",), "encoder": {"model": "other"}, "bits": 12,
         "tiles": TileSettings(size=100, overlap=20)},
    ),
    PromptSpec: (
        {"class_name": "carpet", "group": "thread", "determines": {"phrases": 8}, "known": {"carpet": ("thread",)}},
        {"class_name": "wood", "group": "hole", "determines": {"phrases": 4}, "known": {"wood": ("hole",)}},
    ),
    ScoreSpec: (
        {
            "ids": ("x",), "base": "1", "claims": {"": Claimed(suppression="2")}, "files": {"1": Path("p")},
            "rule": Rule(alpha=1.0),
        },
        {
            "ids": ("y",), "base": "3", "claims": {"": Claimed(suppression="2", rivals=("3",))},
            "files": {"1": Path("q")}, "rule": Rule(alpha=0.5, level=1.0),
        },
    ),
    BaseScoreSpec: (
        {"ids": ("x",), "base": "1", "base_path": Path("p")},
        {"ids": ("y",), "base": "3", "base_path": Path("r")},
    ),
    EvaluateSpec: (
        {
            "detector": "a", "group": "thread", "rows": ({"path": "x"},), "texts": ("", "thread"),
            "scores": record("1"), "settings": EvaluationSettings(alpha=1.0),
        },
        {
            "detector": "b", "group": "hole", "rows": ({"path": "y"},), "texts": ("", "hole"),
            "scores": record("4"), "settings": EvaluationSettings(alpha=0.5),
        },
    ),
}  # fmt: skip
FIELDS = [(kind, name) for kind in SPECS for name in kind.model_fields]


@pytest.mark.parametrize("kind", SPECS)
def test_equal_specs_have_one_key(kind):
    values, _ = SPECS[kind]
    key = item_key("tasks.cache", "task", kind(**values))
    assert key == item_key("tasks.cache", "task", kind(**dict(reversed(values.items()))))
    assert re.fullmatch("task-[0-9a-f]{64}", key)


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda v: getattr(v, "__name__", v))
def test_every_keyed_field_and_no_other_matters(kind, field):
    values, others = SPECS[kind]
    before = item_key("tasks.cache", "task", kind(**values))
    after = item_key("tasks.cache", "task", kind(**{**values, field: others[field]}))
    assert (after == before) == (field in kind.unkeyed)


def test_the_task_and_its_module_matter():
    spec = EncodeSpec(**SPECS[EncodeSpec][0])
    keys = {item_key(m, n, spec) for m, n in [("tasks.cache", "a"), ("tasks.cache", "b"), ("tasks.code", "a")]}
    assert len(keys) == 3


def forget() -> None:
    code.own_sources.cache_clear()
    code.code_digest.cache_clear()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A project of four modules in place of the real one; a module's name -> its file."""
    texts = {
        "tasks.mine": "import numpy\nfrom nand_core import direct\n",
        "nand_core.direct": "def f():\n    from nand_core.deep import g\n",
        "nand_core.deep": "import tasks.mine\n",
        "nand_core.unrelated": "x = 1\n",
    }
    paths = {name: tmp_path / f"{name}.py" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name])
    monkeypatch.setattr(code, "_source", paths.get)
    forget()
    yield paths
    forget()


@pytest.mark.parametrize(
    ("edited", "matters"),
    [("tasks.mine", True), ("nand_core.direct", True), ("nand_core.deep", True), ("nand_core.unrelated", False)],
)
def test_the_code_of_every_imported_module_matters(sources, edited, matters):
    before = code_digest("tasks.mine")
    sources[edited].write_text(sources[edited].read_text() + "# edited\n")
    forget()
    assert (code_digest("tasks.mine") != before) == matters


def test_what_several_modules_import_is_read_once_in_one_look(sources):
    read: list[str] = []
    look = code.Sources(lambda path: read.append(path.stem) or code.read_source(path))
    both = [code.code_of(name, look) for name in ("tasks.mine", "nand_core.direct")]
    assert sorted(read) == ["nand_core.deep", "nand_core.direct", "tasks.mine"]
    assert both == [code.code_of(name) for name in ("tasks.mine", "nand_core.direct")]


def test_the_formulas_of_a_real_task_are_in_its_code(monkeypatch):
    seen: list[str] = []
    find = code._source
    monkeypatch.setattr(code, "_source", lambda name: seen.append(name) or find(name))
    forget()
    code_digest("tasks.suppression")
    forget()
    assert {"tasks.suppression", "nand_core.normality", "nand_core.artifacts.maps", "tasks.cache"} <= set(seen)


OTHERS = {
    "anyio", "dvc", "filelock", "fsspec", "httpx", "httpx2", "huggingface_hub", "openai", "orjson", "prefect",
    "prefect_dask", "prefect_ray", "psutil", "pydantic", "pydantic_core", "ray", "ruamel", "tqdm", "yaml",
}  # fmt: skip
"""They carry, schedule or validate what is computed."""


def test_every_library_that_a_stage_uses_counts_or_is_known_not_to():
    used, open_names = set(), [f"flows.{stage}" for stage in (*STAGES, "base_maps", "pipeline")]
    seen = set(open_names)
    while open_names:
        name = open_names.pop()
        package = name.partition(".")[0]
        if package not in code.PACKAGES:
            used.add(package)
        elif path := code._source(name):
            new = set(code.read_source(path)[1]) - seen
            seen |= new
            open_names += new
    assert {"torch", "numpy", "prefect"} <= used
    assert used - sys.stdlib_module_names - set(code.COMPUTING) - {"__future__"} <= OTHERS


def test_what_is_imported_for_type_checkers_alone_is_no_part_of_the_code(sources):
    lines = ["if TYPE_CHECKING:", "  import torch", "  from nand_core import unrelated", "else:", "  import scipy"]
    sources["tasks.mine"].write_text("\n".join(lines))
    made = code.code_of("tasks.mine")
    assert set(made.modules) == {"tasks.mine"} and set(made.libraries) == {"scipy"}


def test_the_version_of_a_library_matters(sources, monkeypatch):
    before = code_digest("tasks.mine")
    monkeypatch.setattr(code, "version", lambda package: "99")
    forget()
    assert code_digest("tasks.mine") != before
    assert code.code_of("nand_core.unrelated").libraries == {}


def test_modules_are_parsed_one_at_a_time(monkeypatch):
    at_once, most, parse = [], [], ast.parse

    def slow(source):
        at_once.append(None)
        most.append(len(at_once))
        time.sleep(0.002)
        at_once.pop()
        return parse(source)

    monkeypatch.setattr(ast, "parse", slow)
    forget()
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(code_digest, ["tasks.dataset", "tasks.prompts"] * 4))
    assert len(found) == 2 and max(most) == 1


def test_finding_the_code_imports_nothing():
    ask = "import sys; from tasks import code; code.code_digest('tasks.suppression'); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert said.stdout == "False\n", said.stderr


class Plain(Spec):
    value: int


@item
def plain(spec, work):
    """As many bytes as its spec says."""
    return work.store.put(bytes(spec.value), "npz")


KEY = plain.key(Plain(value=1))


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with the object and the record of one item."""
    store = Store(root=tmp_path)
    store.note(KEY, store.put(b"some bytes", "npz"))
    return store


def test_the_policy_gives_the_key_and_drops_what_is_broken(store):
    policy = ContentKey(made=plain)
    inputs = {"spec": Plain(value=1), "work": SimpleNamespace(store=store)}
    assert policy.compute_key(None, inputs, {}) == KEY
    record = Record.model_validate_json((store.records / KEY).read_bytes())
    store.path(record).write_bytes(b"some bytez")
    assert policy.compute_key(None, inputs, {}) == KEY and not (store.records / KEY).exists()
    assert policy.compute_key(None, inputs, {}) == KEY


def test_outside_of_a_flow_an_item_is_computed_once(tmp_path):
    work = SimpleNamespace(store=Store(root=tmp_path))
    made, cached = plain.record(Plain(value=3), work)
    assert not cached and work.store.path(made).read_bytes() == bytes(3)
    assert plain.record(Plain(value=3), work) == (made, True)
    work.store.path(made).write_bytes(b"abc")
    assert plain.record(Plain(value=3), work) == (made, False)


def test_outside_of_a_flow_whoever_comes_second_waits_for_the_item(tmp_path):
    store, begun = Store(root=tmp_path), threading.Event()

    @item
    def slow(spec, work):
        assert not begun.is_set()
        begun.set()
        time.sleep(0.2)
        return work.store.put(b"once", "npz")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: slow.record(Plain(value=1), SimpleNamespace(store=store)), range(4)))
    assert sorted(cached for _, cached in found) == [False, True, True, True]
    assert len({record for record, _ in found}) == 1


def test_an_item_that_a_flow_computes_is_waited_for(tmp_path):
    store, flow = Store(root=tmp_path), FlockManager(tmp_path / "locks")
    assert flow.acquire_lock(KEY, "a flow")
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(plain.record, Plain(value=1), SimpleNamespace(store=store))
        time.sleep(0.1)
        assert not found.done()
        store.note(KEY, store.put(b"the flow's", "npz"))
        flow.release_lock(KEY, "a flow")
        record, cached = found.result()
    assert cached and store.path(record).read_bytes() == b"the flow's"


def test_an_item_is_sent_to_another_process_by_its_name():
    found, name = suppression.__reduce__()
    assert found(*name) is suppression and name == ("tasks.suppression", "suppression")


def test_prefect_reads_the_plain_record(store):
    read = ResultStore(result_storage=StoreRecords(store=store))
    assert read.exists(KEY) and not read.exists("plain-0")
    found = read.read(KEY)
    assert Record(**found.result) == store.lookup(KEY)
    assert found.serializer.type == "json" and found.metadata.storage_key == KEY


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sha256": "0", "ext": "npz", "size": 1}', None])
def test_prefect_takes_no_other_file_for_a_record(store, content):
    pickled = ResultRecord(metadata=ResultRecordMetadata(serializer=PickleSerializer()), result={}).serialize()
    (store.records / KEY).write_bytes(pickled if content is None else content)
    assert not ResultStore(result_storage=StoreRecords(store=store)).exists(KEY)


def test_what_prefect_writes_leaves_the_record_as_it_is(store):
    before = (store.records / KEY).read_bytes()
    ResultStore(result_storage=StoreRecords(store=store)).write({"other": 1}, key=KEY)
    assert (store.records / KEY).read_bytes() == before


def test_bits_and_tiles_are_part_of_a_key_where_there_are_some():
    values = {"images": ("a" * 64,), "paths": ("a.png",), "encoder": {}}
    plain, deep = EncodeSpec(**values), EncodeSpec(**values, bits=12)
    assert plain.key() == EncodeSpec(**values, tiles=None).key() and "tiles" not in EncoderSettings().model_dump()
    assert plain.key().keys() == {"images", "encoder"} and deep.key() == {**plain.key(), "bits": 12}
    shards = [GoodSpec(class_name="a", shards=(Shard(ids=("a",), images=("b",), bits=bits),), encoder={},
                       settings=ExampleSettings()).key()["shards"][0] for bits in (None, 12)]  # fmt: skip
    assert "bits" not in shards[0] and shards[1] == {**shards[0], "bits": 12}


def test_a_shards_images_are_read_by_its_bits(tmp_path):
    Image.fromarray(np.full((4, 4), 2851, np.uint16)).save(tmp_path / "a.png")
    shard = Shard(ids=("a.png",), images=(sha256_file(tmp_path / "a.png"),), bits=12)
    (picture,) = ShardBatch(shard, SimpleNamespace(root=tmp_path)).images()
    assert picture.getpixel((0, 0)) == (178, 178, 178)
