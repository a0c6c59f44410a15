"""Every mistake in params.yaml is one line that names the file, the key and what could be meant."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from nand_core.config import Params, check_names, load_params
from nand_core.errors import NandError
from nand_core.settings import EvaluationSettings, ExampleProtocol, SuppressionSection
from nand_core.vlm.settings import EMBEDDED, EncoderSettings

ROOT = Path(__file__).parents[2]
GOOD: dict[str, Any] = {
    "dataset": {"kind": "demo", "root": "data/demo"},
    "detectors": {"april_gan": {"kind": "april_gan"}, "encoder": {"kind": "patchcore"}},
}
SECRET = "sk-0123456789abcdef"


@pytest.fixture
def refused(tmp_path):
    """The message for bad settings, given as text or as what to set at a dotted place of good ones."""

    def message(place: str, value: Any = None) -> str:
        path = tmp_path / "params.yaml"
        if "\n" in place:
            path.write_text(place)
        else:
            values = copy.deepcopy(GOOD)
            *parents, last = place.split(".")
            inner = values
            for name in parents:
                inner = inner.setdefault(name, {})
            inner[last] = value
            with path.open("w") as file:
                YAML(typ="safe").dump(values, file)
        with pytest.raises(NandError) as error:
            load_params(path)
        said = str(error.value)
        assert said.startswith(f"{path}: ") and "\n" not in said
        assert SECRET not in said + str(error.value.__cause__)
        return said.removeprefix(f"{path}: ")

    return message


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))], ids=lambda path: path.name
)
def test_shipped_settings_are_valid(path):
    assert load_params(path).detectors


OWN = ("params.yaml", "profiles/demo.yaml", "profiles/demo_five.yaml", "profiles/folder.yaml",
       "profiles/magnetic_tile.yaml")  # fmt: skip
APART = {
    "detectors.patchcore.layers": (2, 4),  # what null means with the embedded encoder: the test below
    "detectors.subspace.layers": (2, 4),
    "detectors.winclip_1.shots": 1,
    "detectors.winclip_5.shots": 5,
}
TILES = {
    "detectors.patchcore.coreset": 0.02,  # of 400 images; the profile says why
    "evaluation.examples": ExampleProtocol(),
}
PHOTOGRAPHS = {
    "encoder.centre": 0.4,
    "evaluation.regions": None,  # docs/real_parts.md says why
    "encoder.model": "efficientnet_lite0+embedded",
    "suppression.deepest": 2,
    "suppression.examples.none": 0.1,
    "suppression.examples.whole": 0.5,
    "suppression.examples.meaning": 12,
}


def differing(settings: BaseModel, where: str = "") -> dict[str, Any]:
    """What is set to something else than its class's default, by its place."""
    found: dict[str, Any] = {}
    for name in settings.model_fields_set:
        value, field = getattr(settings, name), type(settings).model_fields[name]
        inner = value if isinstance(value, dict) else {"": value}
        if inner and all(isinstance(one, BaseModel) for one in inner.values()):
            for key, one in inner.items():
                found |= differing(one, ".".join(filter(None, (where, name, key))))
        elif value != field.get_default(call_default_factory=True):
            found[f"{where}.{name}"] = value
    return found


@pytest.mark.parametrize("name", OWN)
def test_settings_for_own_images_are_those_of_the_classes(name):
    loaded = load_params(ROOT / name)
    real = "tile" in name or "folder" in name
    allowed = {**(PHOTOGRAPHS if real else APART), **(TILES if "tile" in name else {})}
    found = {place: value for place, value in differing(loaded).items() if not place.startswith("dataset.")}
    assert found.items() <= allowed.items()
    assert real or (loaded.suppression == SuppressionSection() and loaded.encoder == EncoderSettings())


def test_the_shipped_layers_are_the_ones_without_any_named():
    config = json.loads((EMBEDDED / "config.json").read_text())
    assert tuple(config["layers"][:-1]) == APART["detectors.patchcore.layers"]


@pytest.mark.parametrize("name", ["mvtec_ad", "visa"])
def test_the_papers_settings_are_set_by_its_profiles(name):
    values = YAML(typ="safe").load(ROOT / f"profiles/{name}.yaml")
    assert values["suppression"] == {"combine": "mean", "dilation": 0, "competing": False}
    assert values["evaluation"]["alpha"] == 1.0
    assert values["evaluation"]["regions"] is None
    assert values["detectors"]["patchcore"]["variant"] == "published"


@pytest.mark.parametrize(
    ("place", "near"),
    [
        ("supression", "suppression"),
        ("suppression.dilatoin", "dilation"),
        ("dataset.demo.sed", "seed"),
        ("prompts.openai.modle", "model"),
        ("dataset.demo.demo", None),
        ("run.shards", "shard"),
    ],
)
def test_an_unknown_key_names_the_nearest(refused, place, near):
    said = refused(place, 1)
    assert said.startswith(f"unknown key {place!r}")
    assert f"did you mean {near!r}?" in said if near else "did you mean" not in said


@pytest.mark.parametrize("name", ["mine", "encoder", "patchcore", "winclip"])
def test_an_unknown_key_in_a_detector_names_the_keys_of_its_kind(refused, name):
    said = refused(f"detectors.{name}", {"kind": "patchcore", "corset": 0.1})
    assert "corset'; did you mean 'coreset'?" in said and "shots" not in said
    said = refused(f"detectors.{name}", {"kind": "winclip", "shot": 1})
    assert "shot'; did you mean 'shots'?" in said and "coreset" not in said


@pytest.mark.parametrize(
    ("settings", "given", "near"),
    [({"kind": "patchcor"}, "patchcor", "patchcore"), ({"kind": "wincilp"}, "wincilp", "winclip"), ({}, "none", None)],
)
def test_an_unknown_kind_of_detector(refused, settings, given, near):
    said = refused("detectors.mine", settings)
    assert said.startswith(f"detectors.mine: unknown detector kind {given!r}")
    assert "(known: april_gan, external, patchcore, plugin, subspace, winclip)" in said
    assert near is None or f"did you mean {near!r}?" in said


@pytest.mark.parametrize("name", ["1e3", "007", "null", "true"])
def test_a_detector_name_that_dvc_would_take_for_something_else(refused, name):
    assert f"name {name!r} is no text to YAML" in refused("detectors", {name: {"kind": "april_gan"}})


def test_keys_are_names_and_texts_that_look_like_numbers_are_to_be_quoted(tmp_path, refused):
    head = "dataset: {kind: folder, root: d, groups: {1:30: {no: [a]}, 0o17: {007: [b]}}}\n"
    head += "detectors: {no: {kind: april_gan}}\n"
    path = tmp_path / "params.yaml"
    path.write_text(head + "prompts: {normalities: {12e5: [no, on], 2024-01-01: [{1e3: {phrases: [a]}}]}}\n")
    read = load_params(path)
    assert list(read.detectors) == ["no"] and read.dataset.groups == {"1:30": {"no": ("a",)}, "0o17": {"007": ("b",)}}
    assert [one.text for texts in read.prompts.normalities.values() for one in texts] == ["no", "on", "1e3"]
    said = refused("dataset: {root: d, classes: [12e5]}\ndetectors: {a: {kind: april_gan}}\n")
    assert said == "dataset.classes.0: a text is expected, and YAML takes this one for 1200000.0; put it in quotes"


@pytest.mark.parametrize("name", ["summary", "April", "a-b", "../x", "", "a b", "é", "mine\n"])
def test_a_detector_name_that_cannot_name_a_file(refused, name):
    said = refused("detectors", {name: {"kind": "april_gan"}})
    assert said.startswith("detectors: ") and repr(name) in said


BAD_SCALES = [
    ([0], "scales.0: Input should be greater than or equal to 1 (got 0)"),
    ([-1, 2], "scales.0: Input should be greater than or equal to 1 (got -1)"),
    ([10**9], "scales.0: Input should be less than or equal to"),
    ([2, 2], "a scale stands there twice"),
]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("evaluation.alpha", -1, "evaluation.alpha: Input should be greater than or equal to 0 (got -1)"),
        ("run.shard", 0, "run.shard: Input should be greater than or equal to 1 (got 0)"),
        ("suppression.dilation", 36, "must be odd"),
        ("detectors.mine", {"kind": "patchcore", "coreset": 7}, "coreset: Input should be less than or equal to 1"),
        ("prompts.phrases", 0, "prompts.phrases: Input should be greater than or equal to 1 (got 0)"),
        ("dataset.kind", "dmo", "dataset.kind: Input should be 'demo', 'folder', 'mvtec_ad' or 'visa' (got 'dmo')"),
        ("detectors", {}, "detectors: Dictionary should have at least 1 item"),
        ("dataset", {}, "dataset.root: Field required"),
        ("evaluation.threshold", {"april_gan": -1}, "threshold.april_gan: Input should be greater than or equal to 0"),
        ("evaluation.threshold", {"april_gan": float("inf")}, "threshold.april_gan: Input should be a finite number"),
        ("evaluation.threshold", {"april_gan": {"carpet": None}}, "april_gan.carpet: Input should be a valid number"),
        ("evaluation.threshold", {"april_gan": None}, "threshold.april_gan: Input should be a valid number (got None)"),
        *(("detectors.mine", {"kind": "winclip", "scales": given}, said) for given, said in BAD_SCALES),
        *(("detectors.mine", {"kind": "winclip", key: [given]}, f"{given!r} must contain {{}}")
          for key in ("templates", "normal_states", "abnormal_states")
          for given in ("{0.__class__}", "{0}", "{y}", "{} {y}", "{!r}", "{:>9}", "{", "{{}}", "}{}", "no brace")),
        *(("detectors.mine", {"kind": kind, "seed": seed}, "detectors.mine.seed: Input should be ")
          for kind in ("patchcore", "winclip") for seed in (10**30, 2**63, -1)),
        *(("detectors.mine", {"kind": kind, "sigma": sigma}, ".sigma: Input should be ")
          for kind in ("patchcore", "subspace") for sigma in (1e9, float("inf"), float("nan"))),
        ("detectors.mine", {"kind": "patchcore", "resize": 10**9}, ".resize: Input should be less than"),
        ("detectors.mine", {"kind": "patchcore", "dimensions": 10**9}, ".dimensions: Input should be less than"),
        ("detectors.mine", {"kind": "april_gan", "size": 10**9}, ".size: Input should be less than"),
        ("detectors.mine", {"kind": "external", "maps": "m", "offset": float("nan")}, ".offset: Input should be a f"),
        ("detectors.mine", {"kind": "winclip", "temperature": float("inf")}, ".temperature: Input should be a finite"),
        ("encoder.image_size", 10**9, "encoder.image_size: Input should be less than"),
        ("encoder.adapt", {"seed": 10**30}, "encoder.adapt.seed: Input should be less than"),
        ("prompts.openai.timeout", float("inf"), "prompts.openai.timeout: Input should be a finite number"),
        ("dataset", {"kind": "folder", "root": "d", "mapping": {"a": {"good": {"images": "*"}, "types": {}}}},
         "dataset.mapping.a.good.train: Field required"),
        ("detectors.patchcore", {"kind": "patchcore", "coreset": 7}, "detectors.patchcore.coreset: Input should be"),
        ("evaluation.threshold", 0.5, "evaluation.threshold: Input should be a valid dictionary (got 0.5)"),
    ],
)
def test_a_bad_value_is_named(refused, place, value, message):
    assert message in refused(place, value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("prompts.openai.api_key", SECRET),
        ("prompts.openai", SECRET),
        ("prompts.openai.temperature", SECRET),
        ("prompts.openai.base_url", f"http://user:{SECRET}@localhost/v1"),
        ("prompts.api_key", SECRET),
        ("prompts.openai", [SECRET]),
        ("api_key", SECRET),
        ("openai", SECRET),
        (f"a:\n  api_key: {SECRET}\n  api_key: {SECRET}\n", None),
        (f"a:\n  api_key: '{SECRET}\n", None),
    ],
)
def test_a_misplaced_key_is_not_repeated(refused, place, value):
    assert SECRET[:8] not in refused(place, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n", "not readable as YAML (line 2: "),
        ("a: 1\na: 2\n", 'not readable as YAML (line 2: found duplicate key "a")'),
        ("a: !!python/object:os.system x\n", "not readable as YAML (line 1: could not determine"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n", "not readable as YAML (line 2: git's mark of a merge"),
        ("a: 1\nb: 2026-13-45\n", "not readable as YAML (line 2: no such value (month must be in 1..12)"),
        ("a: !!int x\n", "not readable as YAML (line 1: no such value"),
        ("a: !!bool x\n", "not readable as YAML (line 1: no such value"),
        (f"a: {'9' * 5000}\n", "not readable as YAML (line 1: no such value"),
        (f"a: 0x{'f' * 5000}\n", "not readable as YAML (line 1: no such value"),
        ("{a: " * 1200 + "\n", "not readable as YAML (nested too deeply)"),
        ("a: " + "[" * 600 + "]" * 600 + "\n", "not readable as YAML (nested too deeply)"),
        ("- 1\n", "expected sections such as 'dataset:', found list"),
        ("\n", "expected sections such as 'dataset:', found NoneType"),
    ],
)
def test_broken_yaml(refused, text, message):
    assert refused(text).startswith(message)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(NandError, match=r"none\.yaml: not found; copy one of profiles"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(NandError, match="not readable"):
        load_params(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(NandError, match=r"bytes\.yaml: not readable as YAML"):
        load_params(tmp_path / "bytes.yaml")


def loaded(tmp_path, **sections: Any) -> Any:
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump({**GOOD, **sections}, file)
    return load_params(tmp_path / "params.yaml")


def with_phrases(tmp_path, explicit: dict) -> Any:
    return loaded(tmp_path, prompts={"explicit": explicit})


MANIFEST = pd.DataFrame({"class": ["carpet", "carpet", "wood"], "group": ["", "thread", "knot"]})


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        ({"april_gna": 1}, r"evaluation.threshold: unknown detector 'april_gna'; .*'april_gan'\? \(known: april_gan, "),
        ({"": 1}, "evaluation.threshold: unknown detector ''"),
        ({"encoder": {"wod": 1}}, r"threshold.encoder: unknown class 'wod'; .*'wood'\? \(known: carpet, wood"),
    ],
)
def test_thresholds_for_unknown_names(tmp_path, threshold, message):
    check_names(loaded(tmp_path, evaluation={"threshold": {"april_gan": 0, "encoder": {"wood": 2}}}), MANIFEST)
    with pytest.raises(NandError, match=message):
        check_names(loaded(tmp_path, evaluation={"threshold": threshold}), MANIFEST)


def test_a_threshold_is_of_one_detector_and_of_one_class_or_of_all(tmp_path):
    settings = loaded(tmp_path, evaluation={"threshold": {"april_gan": 3, "encoder": {"wood": 0.5}}}).evaluation
    wanted = {("april_gan", "wood"): 3, ("april_gan", "carpet"): 3, ("encoder", "wood"): 0.5}
    wanted["encoder", "carpet"] = None
    assert {where: settings.for_(*where).fixed for where in wanted} == wanted
    with pytest.raises(ValueError, match="of one detector and class"):
        assert settings.fixed
    for where in wanted:
        one = settings.for_(*where)
        assert one.for_("any", "other") == one == EvaluationSettings.model_validate(one.model_dump(mode="json"))
    assert EvaluationSettings().fixed is None


def test_what_judges_one_detector_and_class_knows_no_other(tmp_path):
    """It is part of an item's key."""
    plain = EvaluationSettings()
    other = EvaluationSettings(threshold={"encoder": 3, "april_gan": {"wood": 2}}, examples=ExampleProtocol())
    assert other.for_("april_gan", "carpet") == plain.for_("april_gan", "carpet") == plain
    one, all_of_it = ({"april_gan": one} for one in ({"wood": 2, "carpet": 5}, 5))
    both = [EvaluationSettings(threshold=given).for_("april_gan", "carpet") for given in (one, all_of_it)]
    assert both[0] == both[1] != plain


def test_phrases_for_unknown_names(tmp_path):
    manifest = MANIFEST
    check_names(with_phrases(tmp_path, {"carpet": {"thread": ["loose thread on carpet"]}}), manifest)
    with pytest.raises(NandError, match=r"unknown class 'carpett'; did you mean 'carpet'\? \(known: carpet, wood\)"):
        check_names(with_phrases(tmp_path, {"carpett": {"thread": ["loose thread on carpet"]}}), manifest)
    with pytest.raises(NandError, match=r"explicit.carpet: unknown group 'tread'; .*'thread'\? \(known: thread\)"):
        check_names(with_phrases(tmp_path, {"carpet": {"tread": ["loose thread on carpet"]}}), manifest)


def numbers(node: Any, where: str) -> Iterator[tuple[str, dict]]:
    """Every number of a JSON schema."""
    if isinstance(node, dict):
        if node.get("type") in ("integer", "number"):
            yield where, node
        node = list(node.items())
    elif isinstance(node, list):
        node = list(enumerate(node))
    else:
        return
    for name, below in node:
        yield from numbers(below, f"{where}.{name}")


def test_every_number_has_bounds():
    found = list(numbers(Params.model_json_schema(), "Params"))
    assert len(found) > 50
    for side in ("inimum", "aximum"):
        open_ = [where for where, node in found if not {f"m{side}", f"exclusiveM{side}"} & node.keys()]
        assert open_ == [], f"no m{side}"
