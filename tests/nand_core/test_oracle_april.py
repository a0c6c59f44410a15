"""APRIL-GAN against the published test script on seeded weights."""

from __future__ import annotations

import pytest
import torch
from oracle_data import Batch, images, prompts, tensors, tiny_vlm

from nand_core.detectors.april_gan import AprilGan, AprilGanSettings
from nand_core.detectors.base import Context
from nand_core.normality import layer_logits, text_feature

TOLERANCE = 1e-4
VARIANTS = ["gelu_112", "gelu_160", "quickgelu_160"]
PICTURES = ("img0", "img1", "img2")


@pytest.fixture(scope="module")
def expected():
    return tensors("april_expected.npz")


def text_features(vlm):
    words = prompts("april_prompts.json")
    return [
        text_feature(
            vlm.encode_text(
                [t.format(s.format("bottle")) for s in words[f"{kind}_states"] for t in words["templates"]]
            )
        )
        for kind in ("normal", "abnormal")
    ]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, tmp_path_factory):
    activation, size = request.param.split("_")
    quick = activation == "quickgelu"
    vlm = tiny_vlm(int(size), quick_gelu=quick, folder=tmp_path_factory.mktemp("config"))
    return request.param, vlm, text_features(vlm)


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", [112, 160])
def test_preprocessing_is_exact_on_images_that_are_not_square(size):
    vlm, resized = tiny_vlm(size), tensors("inputs.npz")[f"x{size}_u8"].permute(0, 3, 1, 2)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    found = torch.stack([vlm.preprocess(picture) for picture in images(*PICTURES)])
    assert torch.equal(found, (resized.float() / 255 - mean) / std)


def test_tokens_of_the_first_prompts(expected):
    found = tiny_vlm(112)._tokenizer(
        ["a bad photo of a bottle.", "this is one bottle with damage in the scene."]
    )
    assert torch.equal(found, expected["tokens_first_prompts"])


def test_position_embedding_is_resized(expected):
    close(tiny_vlm(160).model.visual.positional_embedding.data, expected["posemb_160"])


def test_text_features(variant, expected):
    name, _, text = variant
    close(torch.stack(text, dim=1), expected[f"{name}_text"])


def test_image_features_and_class_probabilities(variant, expected):
    name, vlm, text = variant
    pooled = Batch(images(*PICTURES), vlm=vlm).features().pooled
    close(pooled, expected[f"{name}_image_features"])
    close((100 * pooled @ torch.stack(text, dim=1)).softmax(-1), expected[f"{name}_probs"])


def test_patch_tokens(expected):
    layers = Batch(images(*PICTURES), vlm=tiny_vlm(160)).features().layers
    found = torch.stack([layer.flatten(2).transpose(1, 2) for layer in layers])
    close(found, expected["gelu_160_tokens"][:, :, 1:])


def test_layer_logits(variant, expected):
    name, vlm, text = variant
    features = Batch(images(*PICTURES), vlm=vlm).features()
    logits = layer_logits(features.layers, vlm.linear, torch.stack(text), vlm.logit_scale)
    found = torch.stack([layer.flatten(2).transpose(1, 2) for layer in logits])
    close(found, expected[f"{name}_layer_logits"])


def test_anomaly_maps(variant, expected):
    name, vlm, text = variant
    detector = AprilGan(AprilGanSettings(), Context("bottle", lambda: vlm, lambda: tuple(text)))
    close(detector.maps(Batch(images(*PICTURES), vlm=vlm)), expected[f"{name}_map_sum"])


def test_image_scores(variant, expected):
    name, vlm, text = variant
    detector = AprilGan(AprilGanSettings(), Context("bottle", lambda: vlm, lambda: tuple(text)))
    batch = Batch(images(*PICTURES), vlm=vlm)
    close(detector.image_scores(batch), expected[f"{name}_probs"][:, 1])
    scored = AprilGan(AprilGanSettings(score="class_token"), Context("bottle", lambda: vlm, lambda: tuple(text)))
    close(scored.maps(batch).amax(dim=(1, 2)), expected[f"{name}_probs"][:, 1])
