"""The Python API: what it takes, what it gives, what it refuses, and that importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save_file

import nand
from nand_core.vlm.heads import HIDDEN, PatchHead, stored

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numpy", "pandas", "pydantic", "open_clip", "prefect", "dvc", "typer")


@pytest.fixture(scope="module")
def normality() -> nand.Normality:
    return nand.Normality("carpet", groups=["thread", "hole", "metal"])


@pytest.fixture(autouse=True)
def nothing_added(normality):
    yield
    for text in normality.texts:
        normality.remove(text.text)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.fixture(scope="module")
def encoded(normality, pictures) -> nand.Encoded:
    return normality.encode(pictures)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    return np.random.default_rng(1).random((3, 256, 256), dtype=np.float32)


def test_importing_loads_nothing_heavy():
    code = f"import sys, nand; dir(nand); print([name for name in {HEAVY} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_using_it_loads_neither_prefect_nor_dvc():
    code = "import sys, nand; nand.Normality('carpet'); print({'prefect', 'dvc', 'typer', 'rich'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_every_public_name_is_there():
    assert {name: getattr(nand, name) is not None for name in nand.__all__} == dict.fromkeys(nand.__all__, True)
    assert "Normality" in dir(nand)


def test_kinds_of_images_give_one_encoding(normality, pictures, encoded, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    for same in (paths, list(map(str, paths)), [np.asarray(one) for one in pictures], iter(pictures)):
        again = normality.encode(same)
        assert all(
            torch.equal(a, b)
            for one, other in zip(again.batches, encoded.batches, strict=True)
            for a, b in zip(one.layers, other.layers, strict=True)
        )
    grey = [Image.fromarray(np.full((9, 9), 77, np.uint8)), np.full((9, 9), 77, np.uint8)]
    assert torch.equal(*normality.encode(grey).batches[0].layers[0].split(1))


def test_batches_do_not_matter(normality, pictures, encoded, maps):
    normality.add("thread")
    whole = normality.apply(pictures * 12, np.concatenate([maps] * 12))
    assert len(normality.encode(pictures * 12).batches) > 1
    part = normality.apply(encoded, maps)
    np.testing.assert_array_equal(whole.suppression[-3:], part.suppression)
    np.testing.assert_array_equal(whole.scores_after[:3], part.scores_after)


def test_without_a_text_nothing_changes(normality, encoded, maps):
    result = normality.apply(encoded, maps)
    np.testing.assert_array_equal(result.maps, maps)
    np.testing.assert_array_equal(result.scores_after, result.scores_before)
    assert not result.suppression.any() and result.unknown_words == {}


@examples(max_examples=25, deadline=None)
@given(
    st.permutations(["thread", "dust", "dark mark"]).flatmap(lambda all_: st.integers(1, 3).map(lambda n: all_[:n])),
    st.floats(0, 1),
)
def test_equation_six_holds_whatever_is_added_in_whatever_order(normality, encoded, maps, texts, alpha):
    made = nand.Normality("carpet", normality.vlm, groups=normality.groups, alpha=alpha)
    for text in texts:
        made.add(text)
    result = made.apply(encoded, maps)
    assert result.suppression.min() >= 0 and result.suppression.max() <= 1
    np.testing.assert_allclose(result.maps, maps * (1 - alpha * result.suppression), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.scores_before, maps.max(axis=(1, 2)))
    np.testing.assert_array_equal(result.scores_after, result.maps.max(axis=(1, 2)))
    other = nand.Normality("carpet", normality.vlm, groups=normality.groups, alpha=alpha)
    for text in reversed(texts):
        other.add(text)
    np.testing.assert_array_equal(other.apply(encoded, maps).maps, result.maps)


def test_removing_gives_back_what_was(normality, encoded, maps):
    normality.add("thread")
    first = normality.apply(encoded, maps)
    normality.add("Dark mark.")
    assert [text.text for text in normality.texts] == ["thread", "dark mark"]
    assert not np.array_equal(normality.apply(encoded, maps).maps, first.maps)
    normality.remove("dark mark")
    np.testing.assert_array_equal(normality.apply(encoded, maps).maps, first.maps)


def test_what_competes_changes_the_answer(normality, encoded, maps):
    answers = {}
    for against in (None, [], ["hole"], ["thread", "hole", "metal"]):
        normality.add("loose fibre", against=against)
        answers[str(against)] = normality.apply(encoded, maps).suppression
        normality.remove("loose fibre")
    np.testing.assert_array_equal(answers["None"], answers["['thread', 'hole', 'metal']"])
    assert not np.array_equal(answers["[]"], answers["['hole']"])


def test_phrases_of_ones_own_and_unknown_words(normality, encoded, maps):
    text = normality.add("odd thing", phrases=["A zorkly thread on carpet", "a zorkly thread on carpet"])
    assert (text.phrases, text.provider) == (("zorkly thread on carpet",), "explicit")
    assert text.unknown_words == ("zorkly",)
    assert normality.apply(encoded, maps).unknown_words == {"odd thing": ("zorkly",)}
    assert normality.add("dust", against=["hoel"]).unknown_words == ("hoel",)


def test_the_settings_without_arguments_are_those_of_the_shipped_file(tmp_path, pictures):
    for place in ("train/good", "test/good", "test/scuff", "test/dent"):
        (tmp_path / "parts/carpet" / place).mkdir(parents=True)
        pictures[0].save(tmp_path / "parts/carpet" / place / "000.png")
    shipped = YAML(typ="safe").load(ROOT / "params.yaml")
    shipped["dataset"] = {"kind": "folder", "root": "parts"}
    YAML(typ="safe").dump(shipped, tmp_path / "params.yaml")
    made, plain = nand.Normality.from_params(tmp_path / "params.yaml"), nand.Normality("carpet")
    assert made.class_name == "carpet" and made.groups == ("dent", "scuff")
    for name in ("encoder", "suppression", "prompts", "alpha"):
        assert getattr(made, name) == getattr(plain, name), name


def test_a_figure_shows_image_and_maps_side_by_side(normality, encoded, maps):
    normality.add("thread")
    sheet = normality.apply(encoded, maps).figure(1, size=64)
    assert sheet.mode == "RGB" and sheet.width == 4 * 64 + 3 * 8
    image = sheet.crop((0, sheet.height - 64, 64, sheet.height))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(encoded.image(1).resize((64, 64))))
    panels = [sheet.crop((72 * i, sheet.height - 64, 72 * i + 64, sheet.height)).tobytes() for i in range(4)]
    assert len(set(panels)) == 4


def test_maps_of_another_size_and_kind(normality, encoded):
    small = np.random.default_rng(2).integers(0, 9, (3, 20, 30))
    result = normality.apply(encoded, small.tolist())
    wanted = torch.nn.functional.interpolate(torch.tensor(small, dtype=torch.float32)[:, None], (256, 256),
                                             mode="bilinear")[:, 0]  # fmt: skip
    np.testing.assert_array_equal(result.anomaly, wanted.numpy())
    np.testing.assert_array_equal(normality.apply(encoded, torch.tensor(small)).anomaly, result.anomaly)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "none given"),
        ("a.png", r"write \[image\]"),
        (np.zeros((4, 4), np.uint8), r"write \[image\]"),
        (["nowhere/a.png"], "nowhere/a.png: no such file"),
        ([np.zeros((4, 4))], r"images\[0\]: an array of float64 \(4, 4\)"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)], r"images\[1\]: an array of uint8 \(4, 4, 2\)"),
        ([np.zeros((0, 4), np.uint8)], r"images\[0\]: an array of uint8 \(0, 4\)"),
        ([Image.new("F", (4, 4))], r"images\[0\]: a PIL image of mode F"),
        ([b"bytes"], r"images\[0\]: bytes is no image"),
    ],
)
def test_images_that_cannot_be_used_are_named(normality, images, message):
    with pytest.raises(nand.NandError, match=message):
        normality.encode(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps: maps[:2], r"shape \(2, 256, 256\) for 3 images"),
        (lambda maps: maps[0], r"shape \(256, 256\) for 3 images"),
        (lambda maps: maps - 0.5, r"the map of images\[0\] has -0.*below 0"),
        (lambda maps: np.where(np.arange(3)[:, None, None] == 2, np.nan, maps), r"images\[2\] is not finite"),
        (lambda maps: [["a"]], "not an array of numbers"),
        (lambda maps: [maps[0], maps[1, :4]], "not an array of numbers"),
        (lambda maps: maps * 1j, "not an array of numbers"),
        (lambda maps: maps[:, :0], "no pixels"),
    ],
)
def test_maps_that_cannot_be_used_are_named(normality, encoded, maps, change, message):
    with pytest.raises(nand.NandError, match=message):
        normality.apply(encoded, change(maps))


def test_other_mistakes_are_one_line(normality, encoded, maps):
    normality.add("thread")
    with pytest.raises(nand.NandError, match="'thread' is normal already"):
        normality.add("Thread")
    with pytest.raises(nand.NandError, match="'thred' is not among its texts; did you mean 'thread'"):
        normality.remove("thred")
    with pytest.raises(nand.NandError, match="is empty"):
        normality.add("  ")
    with pytest.raises(nand.NandError, match=r"'Царапина': .* knows none of its words \(царапина\).*force=True"):
        normality.add("Царапина", against=[])
    assert normality.add("Царапина", force=True).unknown_words == ("царапина",)
    normality.remove("царапина")
    with pytest.raises(nand.NandError, match=r"alpha: 1\.5"):
        nand.Normality("carpet", alpha=1.5)
    with pytest.raises(nand.NandError, match=r"params\.yaml: not found"):
        nand.Normality.from_params("nowhere/params.yaml")
    other = nand.Normality("carpet")
    with pytest.raises(nand.NandError, match="encoded by another encoder"):
        other.apply(encoded, maps)
    with pytest.raises(nand.NandError, match="bits: 17 are no bits of a camera"):
        nand.Normality("carpet", bits=17)
    with pytest.raises(nand.NandError, match="against: a list of texts"):
        normality.add("dust", against="hole")
    with pytest.raises(nand.NandError, match="phrases: a list of texts"):
        normality.add("dust", phrases="dust on carpet")


def test_a_class_with_heads_of_its_own(tmp_path, pictures):
    for place in ("train/good", "test/good", "test/scuff", "test/dent"):
        (tmp_path / "parts/carpet" / place).mkdir(parents=True)
        pictures[0].save(tmp_path / "parts/carpet" / place / "000.png")
    shipped = YAML(typ="safe").load(ROOT / "params.yaml")
    shipped |= {"dataset": {"kind": "folder", "root": "parts"}, "encoder": {"device": "cpu", "adapt": {}}}
    YAML(typ="safe").dump(shipped, tmp_path / "params.yaml")
    with pytest.raises(nand.NandError, match=r"artifacts/heads/carpet\.safetensors: not there.*nand repro"):
        nand.Normality.from_params(tmp_path / "params.yaml")
    plain = nand.Normality("carpet", nand.EncoderSettings(device="cpu"))
    heads = [[PatchHead(3 * width, HIDDEN, plain.vlm.embed_dim).state_dict()] for width in plain.vlm.widths]
    (tmp_path / "artifacts/heads").mkdir(parents=True)
    save_file(stored(heads), tmp_path / "artifacts/heads/carpet.safetensors")
    own = nand.Normality.from_params(tmp_path / "params.yaml")
    maps = np.ones((1, 64, 64))
    for made in (own, plain):
        made.add("scuff", against=[])
    assert not np.array_equal(own.apply(pictures[:1], maps).suppression, plain.apply(pictures[:1], maps).suppression)


def test_heads_of_a_class_are_not_left_out_silently():
    with pytest.raises(nand.NandError, match=r"encoder\.centre: the class's heads are needed"):
        nand.Normality("carpet", nand.EncoderSettings(device="cpu", centre=0.4))


def test_16_bit_files_keep_the_range_of_their_camera(normality, tmp_path):
    Image.fromarray(np.linspace(0, 4095, 64 * 64).astype(np.uint16).reshape(64, 64)).save(tmp_path / "deep.png")
    with pytest.raises(nand.NandError, match=r"deep\.png: 16-bit values up to 4095, .*bits=12 of nand\.Normality"):
        normality.encode([tmp_path / "deep.png"])
    seen = nand.Normality("carpet", normality.vlm, bits=12).encode([tmp_path / "deep.png"]).image(0)
    assert seen.getextrema() == ((0, 255),) * 3
