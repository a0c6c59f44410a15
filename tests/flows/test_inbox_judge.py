"""The judge of new images, its overlays, and what the results say now."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flows.inbox.current import check_current, current_thresholds, good_scores
from flows.inbox.judge import Batch, Judge
from flows.inbox.overlay import OUTLINE, overlay
from nand_core.asked import Asked, Held
from nand_core.decision import Claim, final_maps
from nand_core.errors import NandError
from nand_core.normalities import Normality
from nand_core.normality import suppression_map
from nand_core.operating import effect_rows, operating_row
from nand_core.prompts.settings import PromptSettings
from nand_core.settings import EvaluationSettings, Rule, SuppressionSettings
from nand_core.vlm.features import ImageFeatures

ASKED = (Asked("thread", (1.0, 0.0), (0.0, 1.0)), Asked("lint", (0.6, 0.8), (0.0, 1.0), ((-1.0, 0.0),)))
SUPPRESSION = SuppressionSettings(dilation=3, competing=True)


class TinyEncoder:
    """Tokens of two channels on a grid of 4 x 4; counts its calls."""

    device = torch.device("cpu")
    logit_scale = 5.0
    calls = 0

    def __init__(self) -> None:
        self.linear = torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False)]).requires_grad_(False)
        self.linear[0].weight.copy_(torch.tensor([[1.0, 0.2], [-0.3, 1.0]]))

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image.resize((4, 4)), dtype=np.float32)).permute(2, 0, 1) / 255

    def encode_images(self, pixels: torch.Tensor) -> ImageFeatures:
        self.calls += 1
        return ImageFeatures((pixels[:, :2] - 0.5,), pixels.mean((2, 3)))


class RedDetector:
    """Red is abnormal."""

    def maps(self, batch: Batch) -> torch.Tensor:
        return torch.stack([torch.from_numpy(np.array(image)[..., 0] / np.float32(255)) for image in batch.images()])


def images(count: int, seed: int = 0) -> list[Image.Image]:
    draw = np.random.default_rng(seed)
    return [Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]


def judge(
    asked: tuple[Asked, ...], encoder: TinyEncoder | None = None, level: float | None = None, rivals: int = 0
) -> Judge:
    held = tuple(Held(one.text, one, None, tuple(r for r in asked[:rivals] if r is not one)) for one in asked)
    rule = Rule(alpha=0.7, level=level)
    return Judge("red", RedDetector(), lambda: encoder, held, SUPPRESSION, rule, 0.5, 0.4)


@pytest.mark.parametrize(("level", "rivals"), [(None, 0), (0.4, 0), (0.4, 2)])
def test_the_adapted_map_is_that_of_the_rule(level, rivals):
    encoder, pictures = TinyEncoder(), images(3)
    found = judge(ASKED, encoder, level, rivals)(["a", "b", "c"], pictures)
    layers = encoder.encode_images(torch.stack([encoder.preprocess(image) for image in pictures])).layers
    maps = [
        suppression_map(
            layers, encoder.linear, torch.tensor(one.f_add), torch.tensor(one.f_nor), 5.0, SUPPRESSION,
            torch.tensor(one.others) if one.others else None,
        )
        for one in ASKED
    ]  # fmt: skip
    base = torch.nn.functional.interpolate(
        RedDetector().maps(Batch((), pictures, lambda: None))[:, None], size=(256, 256), mode="bilinear"
    )[:, 0]
    claimed = [Claim(one, tuple(r for r in maps[:rivals] if r is not one)) for one in maps]
    expected = final_maps(base, claimed, Rule(alpha=0.7, level=level))
    for verdict, anomaly, adapted in zip(found, base, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(verdict.adapted), adapted)
        assert verdict.score_before == float(anomaly.max())
        assert verdict.score_after == pytest.approx(float(adapted.max()))
        assert verdict.score_after < verdict.score_before


def test_all_normalities_ask_one_encoding_and_none_needs_none():
    encoder = TinyEncoder()
    judge(ASKED, encoder)(["a"], images(1))
    assert encoder.calls == 1
    (verdict,) = judge(())(["a"], images(1))  # without an encoder
    assert verdict.score_after == verdict.score_before == verdict.adapted.max()


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(4)))
def test_an_image_has_the_same_scores_in_any_company(order):
    pictures, one = images(4), judge(ASKED, TinyEncoder())
    alone = [one([str(i)], [picture])[0] for i, picture in enumerate(pictures)]
    together = one([str(i) for i in order], [pictures[i] for i in order])
    for i, verdict in zip(order, together, strict=True):
        assert verdict.score_after == pytest.approx(alone[i].score_after, rel=1e-5)
        assert verdict.score_before == alone[i].score_before


@pytest.mark.parametrize(("width", "height"), [(1000, 600), (3, 700), (64, 64)])
def test_an_overlay_leaves_the_quiet_part_alone_and_outlines_the_rest(width, height):
    image, adapted = Image.new("RGB", (width, height), (10, 60, 200)), np.zeros((256, 256), dtype=np.float32)
    plain = np.asarray(overlay(image, adapted, 1.0))
    assert max(plain.shape) == min(512, max(width, height)) and (plain == (10, 60, 200)).all()
    adapted[64:192, 64:192] = 3
    drawn = np.asarray(overlay(image, adapted, 1.0))
    assert (drawn[0, 0] == (10, 60, 200)).all() and (drawn == OUTLINE).all(axis=-1).any()
    assert (drawn[drawn.shape[0] // 2, drawn.shape[1] // 2] != (10, 60, 200)).any()
    assert overlay(image, adapted * 0, 0.0).size == (plain.shape[1], plain.shape[0])


EVALUATION = EvaluationSettings(false_alarm=0.1)
TESTS = pd.DataFrame(
    {"class": "carpet", "type": ["good"] * 20 + ["thread"] * 5, "group": [""] * 20 + ["thread"] * 5}
).assign(path=lambda frame: [f"{i}.png" for i in frame.index])
SCORES = np.linspace(1, 2, 25), np.linspace(0.5, 1, 25)
EFFECT = effect_rows("red", TESTS, ["thread"], *SCORES, EVALUATION)
OPERATING = pd.DataFrame([operating_row("red", TESTS, "thread", *SCORES, EVALUATION)])


def test_thresholds_are_those_that_judge_the_anomalies():
    anomaly = EFFECT[EFFECT["type"] == "thread"].iloc[0]
    expected = anomaly["threshold_before"], anomaly["threshold_after"], float(np.median(SCORES[0][:20]))
    assert current_thresholds(EFFECT, OPERATING[:0], "red", "carpet", EVALUATION) == expected
    assert current_thresholds(EFFECT[:0], OPERATING, "red", "carpet", EVALUATION) == (expected[0], expected[0], None)


def test_a_fixed_threshold_is_that_of_the_settings_whatever_the_results_say():
    fixed = EVALUATION.model_copy(update={"threshold": {"red": {"carpet": 7.5}}})
    for effect, operating in ((EFFECT, OPERATING), (EFFECT[:0], OPERATING), (EFFECT[:0], OPERATING[:0])):
        assert current_thresholds(effect, operating, "red", "carpet", fixed)[:2] == (7.5, 7.5)
    with pytest.raises(NandError, match="no threshold of red for wood there"):
        current_thresholds(EFFECT, OPERATING, "red", "wood", fixed)
    # And what was made with one says nothing about a rate.
    made = pd.DataFrame([operating_row("red", TESTS, "thread", *SCORES, fixed.for_("red", "carpet"))])
    with pytest.raises(NandError, match="no threshold of red for carpet there"):
        current_thresholds(EFFECT[:0], made, "red", "carpet", EVALUATION)


def test_good_scores_are_those_with_what_holds_now():
    scores = pd.DataFrame({"detector": "red", "class": "carpet", "id": TESTS["path"], "type": TESTS["type"]})
    scores = scores.assign(score_before=SCORES[0])
    assert sorted(good_scores(EFFECT, scores, "red", "carpet")) == sorted(SCORES[1][:20])
    assert sorted(good_scores(EFFECT[:0], scores, "red", "carpet")) == sorted(SCORES[0][:20])
    assert len(good_scores(EFFECT, scores, "red", "wood")) == len(good_scores(EFFECT, scores, "blue", "carpet")) == 0


@pytest.mark.parametrize(
    ("detector", "class_name", "false_alarm"), [("blue", "carpet", 0.1), ("red", "wood", 0.1), ("red", "carpet", 0.2)]
)
def test_where_there_is_no_threshold_the_results_are_to_be_made(detector, class_name, false_alarm):
    evaluation = EvaluationSettings(false_alarm=false_alarm)
    with pytest.raises(NandError, match=f"no threshold of {detector} for {class_name} there; run 'nand repro' first"):
        current_thresholds(EFFECT[:0], OPERATING, detector, class_name, evaluation)


HELD = {"carpet": [Normality("carpet", "thread", "thread", (), "thread"), Normality("carpet", "fuzz", "", (), "fuzz")]}
FEATURES = [("carpet", name, "add") for name in ("thread", "fuzz", "hole")] + [("carpet", "", "nor")]


def current_or_not(folder: Path, **changed) -> None:
    for name in ("thread", "fuzz"):
        (folder / "prompts/carpet").mkdir(parents=True, exist_ok=True)
        (folder / f"prompts/carpet/{name}.json").write_text(json.dumps({"phrases": ["grey fuzz"]}))
    given_now = {
        "texts": [("carpet", name) for name in ("thread", "fuzz", "hole")],
        "held": HELD,
        "features": FEATURES,
        "effect": EFFECT,
        "artifacts": folder,
        "settings": PromptSettings(explicit={"carpet": {"fuzz": ("grey fuzz",)}}),
        "detectors": ["red"],
    }
    check_current(**{**given_now, **changed})


def test_results_of_the_settings_pass(tmp_path):
    current_or_not(tmp_path)
    current_or_not(tmp_path, held={}, effect=EFFECT[:0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": FEATURES[1:]}, r"text_features.parquet: not that of the settings \(carpet/thread\)"),
        ({"features": [*FEATURES, ("carpet", "old", "add")]}, r"not that of the settings \(carpet/old\)"),
        ({"effect": EFFECT[:0]}, r"normalities.parquet: not that of the settings \(carpet\)"),
        ({"held": {}}, r"normalities.parquet: not that of the settings \(carpet\)"),
        ({"held": {"carpet": HELD["carpet"][1:]}}, "normalities.parquet: not that"),
        ({"detectors": ["red", "blue"]}, "normalities.parquet: not that"),
        ({"settings": PromptSettings(explicit={"carpet": {"fuzz": ("x",)}})}, "carpet/fuzz.json: not that"),
        ({"held": {"carpet": [Normality("carpet", "thread", "thread", ("y",), "thread-1")]}}, "thread-1.json: not"),
    ],
)
def test_results_of_other_settings_are_refused(tmp_path, changed, message):
    with pytest.raises(NandError, match=f"{message}.*run 'nand repro' first"):
        current_or_not(tmp_path, **changed)
