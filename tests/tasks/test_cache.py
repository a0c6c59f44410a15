"""A key holds all that a result depends on, and a hit is a hit only with an intact object."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from nand_core.artifacts.store import Store
from nand_core.protocol import EvaluationSettings
from tasks import code
from tasks.cache import ContentKey, Spec, forget_if_broken, item_key
from tasks.code import code_digest
from tasks.evaluate import EvaluateSpec
from tasks.image_features import EncodeSpec
from tasks.prompts import PromptSpec

SPECS = {
    EncodeSpec: (
        {"images": ("a" * 64,), "paths": ("a.png",), "encoder": {"model": "embedded"}},
        {"images": ("b" * 64,), "paths": ("b.png",), "encoder": {"model": "other"}},
    ),
    PromptSpec: (
        {"class_name": "carpet", "group": "thread", "determines": {"phrases": 8}, "known": {"carpet": ("thread",)}},
        {"class_name": "wood", "group": "hole", "determines": {"phrases": 4}, "known": {"wood": ("hole",)}},
    ),
    EvaluateSpec: (
        {
            "detector": "a", "group": "thread", "rows": ({"path": "x"},), "base": "1", "base_path": Path("p"),
            "suppression": "2", "suppression_path": Path("q"), "settings": EvaluationSettings(alpha=1.0),
        },
        {
            "detector": "b", "group": "hole", "rows": ({"path": "y"},), "base": "3", "base_path": Path("r"),
            "suppression": "4", "suppression_path": Path("s"), "settings": EvaluationSettings(alpha=0.5),
        },
    ),
}  # fmt: skip
FIELDS = [(kind, name) for kind in SPECS for name in kind.model_fields]


@pytest.mark.parametrize("kind", SPECS)
def test_equal_specs_have_one_key(kind):
    values, _ = SPECS[kind]
    key = item_key("tasks.cache", "task", kind(**values))
    assert key == item_key("tasks.cache", "task", kind(**dict(reversed(values.items()))))
    assert len(key) == 64


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
    code._code_digest.cache_clear()
    yield paths
    code._code_digest.cache_clear()


@pytest.mark.parametrize(
    ("edited", "matters"),
    [("tasks.mine", True), ("nand_core.direct", True), ("nand_core.deep", True), ("nand_core.unrelated", False)],
)
def test_the_code_of_every_imported_module_matters(sources, edited, matters):
    before = code_digest("tasks.mine")
    sources[edited].write_text(sources[edited].read_text() + "# edited\n")
    code._code_digest.cache_clear()
    assert (code_digest("tasks.mine") != before) == matters


def test_the_formulas_of_a_real_task_are_in_its_code(monkeypatch):
    seen: list[str] = []
    find = code._source
    monkeypatch.setattr(code, "_source", lambda name: seen.append(name) or find(name))
    code._code_digest.cache_clear()
    code_digest("tasks.suppression")
    code._code_digest.cache_clear()
    assert {"tasks.suppression", "nand_core.normality", "nand_core.artifacts.maps", "tasks.cache"} <= set(seen)


def test_modules_are_parsed_one_at_a_time(monkeypatch):
    at_once, most, parse = [], [], ast.parse

    def slow(source):
        at_once.append(None)
        most.append(len(at_once))
        time.sleep(0.002)
        at_once.pop()
        return parse(source)

    monkeypatch.setattr(ast, "parse", slow)
    code._code_digest.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(code_digest, ["tasks.dataset", "tasks.prompts"] * 4))
    assert len(found) == 2 and max(most) == 1


def test_finding_the_code_imports_nothing():
    ask = "import sys; from tasks import code; code.code_digest('tasks.suppression'); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert said.stdout == "False\n", said.stderr


KEY = "0" * 64


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with one object and Prefect's record of it."""
    store = Store(root=tmp_path)
    record = store.put(b"some bytes", "npz")
    store.records.mkdir()
    result = json.dumps(record.model_dump())
    (store.records / KEY).write_text(json.dumps({"metadata": {"storage_key": KEY}, "result": result}))
    return store


def the_object(store: Store) -> Path:
    (path,) = (path for path in (store.root / "objects").rglob("*") if path.is_file())
    return path


def test_a_good_record_is_kept(store):
    forget_if_broken(store, KEY)
    assert (store.records / KEY).exists() and the_object(store).read_bytes() == b"some bytes"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"text"', "{}", '{"result": null}', '{"result": "{"}', '{"result": "[]"}',
        '{"result": "{}"}', '{"result": "{\\"sha256\\": \\"0\\", \\"ext\\": \\"npz\\", \\"size\\": 1}"}',
    ],
)  # fmt: skip
def test_an_unreadable_record_goes(store, text):
    (store.records / KEY).write_text(text)
    forget_if_broken(store, KEY)
    assert not (store.records / KEY).exists()


def test_a_record_without_its_object_goes(store):
    the_object(store).unlink()
    forget_if_broken(store, KEY)
    assert not (store.records / KEY).exists()


@pytest.mark.parametrize("content", [b"some bytez", b"some", b""])
def test_a_record_of_a_damaged_object_goes_with_it(store, content):
    path = the_object(store)
    path.write_bytes(content)
    forget_if_broken(store, KEY)
    assert not (store.records / KEY).exists() and not path.exists()


def test_a_record_that_never_was(tmp_path):
    forget_if_broken(Store(root=tmp_path), KEY)
    assert list(tmp_path.iterdir()) == []


class Plain(Spec):
    value: int


def test_the_policy_gives_the_key_and_drops_what_is_broken(store):
    policy = ContentKey(module="tasks.cache", name="plain")
    key = item_key("tasks.cache", "plain", Plain(value=1))
    (store.records / KEY).rename(store.records / key)
    inputs = {"spec": Plain(value=1), "work": SimpleNamespace(store=store)}
    assert policy.compute_key(None, inputs, {}) == key and (store.records / key).exists()
    the_object(store).unlink()
    assert policy.compute_key(None, inputs, {}) == key and not (store.records / key).exists()
