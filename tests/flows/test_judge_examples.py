"""The judge of new images with normalities by example, and whether the results are those of the settings then."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from test_inbox_judge import ASKED, FEATURES, HELD, SUPPRESSION, RedDetector, TinyEncoder, current_or_not, images

from flows.inbox.judge import Judge
from nand_core.asked import Compared, Held, seen
from nand_core.errors import NandError
from nand_core.examples import Good, Shown, good_distances, learn_good, patch_vectors, picture_patches
from nand_core.normalities import Normality
from nand_core.normality import union
from nand_core.prompts.settings import Example
from nand_core.settings import ExampleSettings, Rule

SETTINGS = ExampleSettings(none=0, whole=1, widen=1, regions=False)
BY_EXAMPLE = Normality("carpet", "lint", "", (), "lint", (Example(image=f"{'0' * 16}-lint.png"),), (), asked=False)


def vectors(encoder: TinyEncoder, pictures: list[Image.Image]) -> torch.Tensor:
    return patch_vectors(encoder.encode_images(torch.stack([*map(encoder.preprocess, pictures)])).layers)


@pytest.fixture(scope="module")
def encoder() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture(scope="module")
def good(encoder) -> Good:
    dim = [Image.fromarray(np.asarray(one) // 4) for one in images(6, seed=1)]
    return learn_good([vectors(encoder, dim)], 6, SETTINGS)


def stained(red: int) -> Image.Image:
    """Dim, with a red corner."""
    pixels = np.asarray(images(1, seed=2)[0]) // 4
    pixels[:16, :16, 0] = red
    return Image.fromarray(pixels)


def shown(encoder: TinyEncoder, good: Good, like: int, unlike: int | None = None) -> Shown:
    def patches(red: int) -> torch.Tensor:
        return picture_patches(encoder, stained(red), None, good, SETTINGS)[0]

    return Shown(patches(like), torch.empty(0, 0) if unlike is None else patches(unlike), good.level)


def judge(encoder: TinyEncoder, good: Good | None, *held: Held) -> Judge:
    return Judge("red", RedDetector(), lambda: encoder, held, SUPPRESSION, Rule(), 0.5, 0.4, good, SETTINGS)


def test_what_an_example_shows_is_suppressed_and_what_has_to_raise_an_alarm_is_not(encoder, good):
    pictures = [stained(250), stained(150), stained(60)]
    by_like = judge(encoder, good, Held("lint", None, shown(encoder, good, 250)))("abc", pictures)
    assert by_like[0].score_after < 0.5 * by_like[0].score_before
    guarded = judge(encoder, good, Held("lint", None, shown(encoder, good, 250, 150)))("abc", pictures)
    assert guarded[1].score_after == guarded[1].score_before > by_like[1].score_after
    assert by_like[0].score_after < guarded[0].score_after < 0.8 * guarded[0].score_before


def test_texts_and_examples_hold_together_and_are_asked_once_for_all(encoder, good, monkeypatch):
    held = (Held("thread", ASKED[0]), Held("lint", None, shown(encoder, good, 250)),
            Held("dust", ASKED[1], shown(encoder, good, 180, 60)))  # fmt: skip
    pictures, calls = [stained(250), *images(2)], []
    monkeypatch.setattr(
        "nand_core.asked.good_distances", lambda *given: calls.append(1) or good_distances(*given)
    )
    before = encoder.calls
    verdicts = judge(encoder, good, *held)("abc", pictures)
    assert encoder.calls == before + 1 and calls == [1]
    features = encoder.encode_images(torch.stack([*map(encoder.preprocess, pictures)]))
    distances = good_distances(patch_vectors(features.layers), good)
    expected = union(
        [
            seen(encoder, features, one.asked, one.shown and Compared(one.shown, distances, SETTINGS), SUPPRESSION)
            for one in held
        ]
    )
    bases = judge(encoder, None)("abc", pictures)
    for verdict, base, suppression in zip(verdicts, bases, expected, strict=True):
        np.testing.assert_array_equal(verdict.adapted, base.adapted * (1 - suppression.numpy()))


def test_examples_need_good_patches(encoder, good):
    with pytest.raises(ValueError, match="no good patches"):
        judge(encoder, None, Held("lint", None, shown(encoder, good, 250)))("a", [stained(250)])


def test_examples_alone_need_neither_phrases_nor_features_but_their_maps(tmp_path):
    held = {"carpet": [*HELD["carpet"], BY_EXAMPLE]}
    with pytest.raises(NandError, match=r"suppression/carpet/lint\.npz: not there; run 'nand repro' first"):
        current_or_not(tmp_path, held=held)
    (tmp_path / "suppression/carpet").mkdir(parents=True)
    (tmp_path / "suppression/carpet/lint.npz").write_bytes(b"")
    current_or_not(tmp_path, held=held)
    with pytest.raises(NandError, match=r"not that of the settings \(carpet/lint\)"):
        current_or_not(tmp_path, held=held, features=[*FEATURES, ("carpet", "lint", "add")])
