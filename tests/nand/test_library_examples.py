"""The Python API with examples: what is shown is suppressed, and what cannot be used is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

import nand

MAPS = np.ones((2, 64, 64), dtype=np.float32)
SIDE = 128
RED, BLUE = (160, 110, 110), (110, 110, 170)
HERE, THERE = (34, 34), (96, 96)


def board(seed: int, stain: tuple[int, int, int] | None = None, centre: tuple[int, int] = HERE) -> Image.Image:
    """A soft grey pattern, with a soft stain."""
    rough = np.random.default_rng(seed).integers(80, 160, (SIDE // 8, SIDE // 8), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(rough).resize((SIDE, SIDE)).convert("RGB"))
    return Image.fromarray(pixels) if stain is None else stained(pixels, stain, centre)


def stained(pixels: np.ndarray, stain: tuple[int, int, int], centre: tuple[int, int]) -> Image.Image:
    y, x = np.mgrid[:SIDE, :SIDE]
    share = 0.6 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * 7**2))[..., None]
    return Image.fromarray((pixels * (1 - share) + share * np.array(stain)).astype(np.uint8))


@pytest.fixture(scope="module")
def good() -> list[Image.Image]:
    return [board(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def normality(good) -> nand.Normality:
    return nand.Normality("carpet", groups=["thread", "hole"], good=good)


@pytest.fixture(autouse=True)
def nothing_added(normality):
    yield
    for text in normality.texts:
        normality.remove(text.text)


@pytest.fixture(scope="module")
def encoded(normality) -> nand.Encoded:
    """A red stain, a blue one."""
    return normality.encode([board(10, RED), board(11, BLUE)])


def suppressed(normality, encoded) -> np.ndarray:
    """A_sup of both images at their stains."""
    return normality.apply(encoded, MAPS).suppression[:, 56:80, 56:80].mean(axis=(1, 2))


def test_what_is_shown_is_suppressed_without_asking_the_text_encoder(normality, encoded, monkeypatch):
    monkeypatch.setattr(type(normality.vlm), "encode_text", None)
    text = normality.add("red stain", like=[board(20, RED)])
    assert text == nand.Text("red stain", (), "", (), like=1, unlike=0) and normality.texts == (text,)
    red, blue = suppressed(normality, encoded)
    assert red > 0.5 > blue
    normality.remove("red stain")
    assert not normality.apply(encoded, MAPS).suppression.any()


def test_an_image_that_has_to_raise_an_alarm_keeps_raising_it(normality, encoded):
    normality.add("stain", like=[board(20, RED), board(21, BLUE)])
    both = suppressed(normality, encoded)
    normality.remove("stain")
    text = normality.add("stain", like=[board(20, RED)], unlike=[board(21, BLUE)])
    assert (text.like, text.unlike) == (1, 1)
    red, blue = suppressed(normality, encoded)
    assert both.min() > 0.5 and red > 0.3 and blue < 0.1


def test_text_and_examples_together_are_asked_and_shown(normality, encoded):
    alone = normality.add("thread")
    by_text = normality.apply(encoded, MAPS).suppression
    normality.remove("thread")
    text = normality.add("thread", like=[board(20, RED)], ask=True)
    assert text == replace(alone, like=1)
    assert (normality.apply(encoded, MAPS).suppression >= by_text).all()
    guarded = normality.add("hole", unlike=[board(21, BLUE)])
    assert guarded.phrases and (guarded.like, guarded.unlike) == (0, 1)
    assert normality.add("dust", phrases=["dust on carpet"], like=[board(22, RED)]).provider == "explicit"


def test_the_order_of_examples_and_of_batches_has_no_effect(normality, encoded, good):
    images = [board(20, RED), board(21, BLUE), board(22, RED)]
    normality.add("stain", like=images)
    found = normality.apply(encoded, MAPS)
    other = nand.Normality("carpet", normality.vlm, good=normality.encode(good))
    other.add("stain", like=[nand.Example(np.asarray(one)) for one in reversed(images)])
    np.testing.assert_array_equal(other.apply(encoded, MAPS).suppression, found.suppression)
    many = normality.encode([encoded.image(position % 2) for position in range(2 * 17)])
    np.testing.assert_array_equal(normality.apply(many, np.ones((34, 8, 8))).suppression[-2:], found.suppression)


def test_a_box_or_a_mask_says_what_is_meant(normality, encoded, tmp_path):
    both = np.asarray(stained(np.asarray(board(20, RED)), BLUE, THERE))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[84:108, 84:108] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    answers = []
    for given in ({"box": (84, 84, 24, 24)}, {"mask": mask > 0}, {"mask": mask}, {"mask": mask // 255},
                  {"mask": tmp_path / "mask.png"}):  # fmt: skip
        normality.add("blue", like=[nand.Example(both, **given)])
        answers.append(normality.apply(encoded, MAPS).suppression)
        normality.remove("blue")
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
    red, blue = answers[0][:, 56:80, 56:80].mean(axis=(1, 2))
    assert blue > 0.4 and blue > red


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"like": board(20, RED)}, r"like: one image given, a list expected"),
        ({"like": nand.Example(board(20, RED))}, r"like: one example given, a list expected"),
        ({"like": ["nowhere.png"]}, r"nowhere\.png: no such file"),
        ({"unlike": [b"bytes"]}, r"unlike\[0\]: bytes is no image"),
        ({"like": [board(0)]}, r"like\[0\]: shows nothing that the good images of 'carpet' do not"),
        (
            {"like": [np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)]},
            r"like\[0\]: \d+ % of it looks like nothing in the good images",
        ),
        ({"like": [board(20, RED)] * 2}, r"like\[1\] is there twice"),
        ({"like": [board(20, RED)], "unlike": [np.asarray(board(20, RED))]}, r"unlike\[0\] is there twice"),
        ({"like": [board(seed, RED) for seed in range(51)]}, "51 examples, at most 50"),
        ({"like": [board(20, RED)], "against": ["hole"]}, "nothing competes with examples alone"),
        ({"like": [nand.Example(board(20, RED), (120, 0, 10, 10))]}, "the box 120,0,10,10 leaves the image"),
        ({"like": [nand.Example(board(20, RED), (0, -1, 10, 10))]}, "leaves the image"),
        ({"like": [nand.Example(board(20, RED), (0, 0, 0, 10))]}, "is empty"),
        ({"like": [nand.Example(board(20, RED), (0, 0, 1.5, 10))]}, "whole numbers of pixels"),
        ({"like": [nand.Example(board(20, RED), (0, 0, 10))]}, "is not x, y, width and height"),
        ({"like": [nand.Example(board(20, RED), mask=np.zeros((SIDE, SIDE), bool))]}, "the mask marks nothing"),
        ({"like": [nand.Example(board(20, RED), mask=np.ones((SIDE, 9), bool))]}, r"has the shape \(128, 9\)"),
        ({"like": [nand.Example(board(20, RED), mask=np.ones((SIDE, SIDE)))]}, "an array of float64"),
        ({"like": [nand.Example(board(20, RED), (0, 0, 9, 9), np.ones((SIDE, SIDE), bool))]}, "a box or a mask"),
        ({"like": [nand.Example(board(20, RED), mask=[[1]])]}, "its mask is list"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_and_changes_nothing(normality, given, message):
    with pytest.raises(nand.NandError, match=message):
        normality.add("stain", **given)
    assert normality.texts == ()


def test_examples_need_good_images(normality, good):
    for images, message in ((None, r"give some: Normality\('carpet', good="), (good[:1], "at least two are needed")):
        other = nand.Normality("carpet", normality.vlm, good=images)
        for side in ("like", "unlike"):
            with pytest.raises(nand.NandError, match=message):
                other.add("stain", **{side: [board(20, RED)]})
        assert other.texts == () and other.add("thread").like == 0
    with pytest.raises(nand.NandError, match="good: one image given"):
        nand.Normality("carpet", good=good[0])
    strange = replace(normality.encode(good), encoder=nand.Normality("carpet").vlm)
    with pytest.raises(nand.NandError, match="good: encoded by another encoder"):
        nand.Normality("carpet", normality.vlm, good=strange).add("stain", like=[board(20, RED)])


def test_a_params_files_examples_hold_and_their_files_are_checked(normality, encoded, good, tmp_path):
    for place, images in {"train/good": good, "test/good": good[:1], "test/scuff": [board(20, RED)],
                          "test/dent": [board(21, BLUE)]}.items():  # fmt: skip
        (tmp_path / "parts/carpet" / place).mkdir(parents=True)
        for number, image in enumerate(images):
            image.save(tmp_path / f"parts/carpet/{place}/{number}.png")
    data = (tmp_path / "parts/carpet/test/scuff/0.png").read_bytes()
    path = tmp_path / f"artifacts/examples/carpet/{hashlib.sha256(data).hexdigest()[:16]}-shot.png"
    values = {
        "dataset": {"kind": "folder", "root": "parts"},
        "detectors": {"april_gan": {"kind": "april_gan"}},
        "suppression": {"examples": {"widen": 5}},
        "prompts": {"normalities": {"carpet": [{"red stain": {"like": [path.name]}}]}},
    }
    YAML(typ="safe").dump(values, tmp_path / "params.yaml")
    with pytest.raises(nand.NandError, match=r"examples/carpet/[0-9a-f]{16}-shot\.png: not there; 'dvc pull'"):
        nand.Normality.from_params(tmp_path / "params.yaml")
    path.parent.mkdir(parents=True)
    path.write_bytes(data[:-1])
    with pytest.raises(nand.NandError, match="other content than it is named after"):
        nand.Normality.from_params(tmp_path / "params.yaml")
    path.write_bytes(data)
    made = nand.Normality.from_params(tmp_path / "params.yaml")
    assert made.texts == (nand.Text("red stain", (), "", like=1),) and made.examples.widen == 5
    same = nand.Normality("carpet", made.vlm, good=good, examples=made.examples)
    same.add("red stain", like=[board(20, RED)])
    images = list(encoded.images)
    wanted = made.apply(images, MAPS).suppression
    assert wanted[0].max() > 0.5
    np.testing.assert_array_equal(same.apply(images, MAPS).suppression, wanted)
    normality.add("red stain", like=[path])
    assert not np.array_equal(normality.apply(encoded, MAPS).suppression, wanted), "widen has an effect"
    assert torch.equal(*(one._good.bank for one in (made, same)))
