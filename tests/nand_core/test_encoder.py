"""The encoder's settings, files and errors."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import open_clip
import pytest
import torch
from oracle_data import ORACLE, Batch, images, tiny_settings, tiny_vlm
from pydantic import ValidationError
from safetensors.torch import save_file

from nand_core.artifacts.store import sha256_file
from nand_core.errors import NandError
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import encoder_digest, weight_files
from nand_core.vlm.weights import load_tensors


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def vlm():
    return tiny_vlm(112)


def linear_state(layers=4, width=48, embed=32):
    state = {}
    for i in range(layers):
        state[f"fc.{i}.weight"], state[f"fc.{i}.bias"] = torch.zeros(embed, width), torch.zeros(embed)
    return state


def test_quarters_of_the_tower_are_the_default_layers(vlm):
    assert vlm.layers == (3, 6, 9, 12)


def test_features_have_the_documented_shapes(vlm):
    features = Batch(images("img0", "img2"), vlm=vlm).features()
    assert [tuple(layer.shape) for layer in features.layers] == [(2, 48, 7, 7)] * 4
    assert {layer.dtype for layer in features.layers} == {torch.float32}
    torch.testing.assert_close(features.pooled.norm(dim=-1), torch.ones(2))


def test_batches_do_not_change_the_encoding(vlm):
    pixels = torch.stack([vlm.preprocess(image) for image in images("img0", "img1", "img2")])
    whole = vlm.encode_images(pixels)
    split = tiny_vlm(112, batch_size=2).encode_images(pixels)
    torch.testing.assert_close(split.pooled, whole.pooled)
    for one, other in zip(split.layers, whole.layers, strict=True):
        torch.testing.assert_close(one, other)


def test_some_layers_only(vlm):
    few = tiny_vlm(112, layers=(3, 9), linear_layers=None)
    pixels = few.preprocess(*images("img0"))[None]
    chosen, every = few.encode_images(pixels), vlm.encode_images(pixels)
    assert torch.equal(chosen.layers[0], every.layers[0]) and torch.equal(chosen.layers[1], every.layers[2])
    assert torch.equal(chosen.pooled, every.pooled)


def test_low_precision_gives_float32_near_the_full_one(vlm):
    low = tiny_vlm(112, precision="bf16")
    pixels = vlm.preprocess(*images("img0"))[None]
    rough, exact = low.encode_images(pixels), vlm.encode_images(pixels)
    assert rough.layers[-1].dtype == torch.float32
    assert (rough.pooled * exact.pooled).sum() > 0.999
    assert not torch.equal(rough.pooled, exact.pooled)


def test_resnet_towers_go_the_same_way(tmp_path):
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    (tmp_path / "resnet.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.CLIP(**config).eval()
    save_file(model.state_dict(), tmp_path / "resnet.safetensors")
    save_file(
        {
            f"fc.{i}.{kind}": torch.zeros((16, width) if kind == "weight" else 16)
            for i, width in enumerate((128, 256))
            for kind in ("weight", "bias")
        },
        tmp_path / "linear.safetensors",
    )
    vlm = load_vlm(
        EncoderSettings(
            model=str(tmp_path / "resnet.json"),
            pretrained=str(tmp_path / "resnet.safetensors"),
            linear_layers=str(tmp_path / "linear.safetensors"),
            layers=(3, 4),
            device="cpu",
        )
    )
    pixels = vlm.preprocess(*images("img0"))[None]
    features = vlm.encode_images(pixels)
    assert [tuple(layer.shape) for layer in features.layers] == [(1, 128, 8, 8), (1, 256, 4, 4)]
    with torch.no_grad():
        torch.testing.assert_close(features.pooled, model.encode_image(pixels, normalize=True))


def test_text_is_encoded_in_chunks_and_normalised(vlm):
    sentences = [f"a photo of {i} bottles" for i in range(300)]
    found = vlm.encode_text(sentences)
    assert found.shape == (300, 32)
    torch.testing.assert_close(found[290:], vlm.encode_text(sentences[290:]))
    raw = vlm.encode_text(sentences[:2], normalize=False)
    torch.testing.assert_close(raw / raw.norm(dim=-1, keepdim=True), found[:2])
    assert vlm.unknown_words("frobnicated bottle") == []


def test_without_linear_layers_only_asking_for_them_fails():
    vlm = tiny_vlm(112, linear_layers=None)
    assert vlm.encode_text(["a bottle"]).shape == (1, 32)
    with pytest.raises(NandError, match=r"encoder\.linear_layers"):
        len(vlm.linear)


def test_digests_are_those_of_the_files():
    digests = encoder_digest(tiny_settings(112))
    assert digests == {
        "config": sha256_file(ORACLE / "clip_tiny.json"),
        "pretrained": sha256_file(ORACLE / "clip_tiny.pt"),
        "linear_layers": sha256_file(ORACLE / "april_linear_tiny.pt"),
    }
    assert encoder_digest(tiny_settings(160, sha256=digests)) == digests


@pytest.mark.parametrize("key", ["config", "pretrained", "linear_layers"])
def test_a_wrong_digest_is_refused(key):
    settings = tiny_settings(112, sha256={key: "0" * 64})
    for use in (load_vlm, encoder_digest):
        with pytest.raises(NandError, match=f"sha256.{key}"):
            use(settings)


def test_a_digest_of_a_file_that_is_not_used_is_refused():
    with pytest.raises(NandError, match=r"encoder\.sha256: vocabulary given"):
        encoder_digest(tiny_settings(112, sha256={"vocabulary": "0" * 64}))


def test_the_embedded_model_takes_the_same_way():
    vlm = load_vlm(EncoderSettings(device="cpu"))
    features = Batch(images("img0"), vlm=vlm).features()
    assert len(features.layers) == len(vlm.layers) == len(vlm.linear)
    assert features.pooled.shape == (1, vlm.embed_dim)
    assert vlm.unknown_words("a frobnicated carpet") == ["frobnicated"]
    assert encoder_digest(EncoderSettings()).keys() == {"config", "vocabulary", "pretrained", "linear_layers"}


def test_a_missing_file_is_named(tmp_path):
    settings = tiny_settings(112, linear_layers=str(tmp_path / "april.pth"))
    assert [file.key for file in weight_files(settings) if not file.present] == ["linear_layers"]
    with pytest.raises(NandError, match=r"april\.pth"):
        load_vlm(settings)


def test_a_tag_that_cannot_be_fetched_names_the_way_out(monkeypatch):
    def offline(tag):
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    settings = EncoderSettings(model="ViT-L-14-336", pretrained="openai", device="cpu")
    with pytest.raises(NandError, match=r"no network.*set encoder\.pretrained"):
        load_vlm(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "ViT-L-14-366", "pretrained": "openai"}, "did you mean 'ViT-L-14-336'"),
        ({"model": "ViT-L-14-336"}, "needs weights.*openai"),
        ({"model": "nowhere/config.json", "pretrained": "openai"}, "nowhere/config.json"),
    ],
)
def test_models_that_do_not_exist(changes, message):
    with pytest.raises(NandError, match=message):
        load_vlm(EncoderSettings(device="cpu", **changes))


def test_a_config_that_is_none(tmp_path):
    path = tmp_path / "config.json"
    for text, message in (("{", "not a JSON file"), ('{"embed_dim": 3}', "not an open_clip config")):
        path.write_text(text)
        with pytest.raises(NandError, match=message):
            load_vlm(EncoderSettings(model=str(path), pretrained="x.pt", device="cpu"))


@pytest.mark.parametrize("field", ["pretrained", "linear_layers"])
def test_a_pickled_payload_is_refused_and_not_run(tmp_path, field):
    mark, path = tmp_path / "executed", tmp_path / "weights.pth"
    torch.save({"trainable_linearlayer": linear_state(), "state_dict": Payload(mark)}, path)
    with pytest.raises(NandError, match="nothing was executed"):
        load_vlm(tiny_settings(112, **{field: str(path)}))
    assert not mark.exists()
    here, there = multiprocessing.Pipe()
    here.send(Payload(mark))
    there.recv()  # proof that it would have run
    assert mark.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_files_that_are_no_weights(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NandError, match=name):
        load_tensors(tmp_path / name)


def test_a_state_dict_must_hold_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "weights.pt")
    with pytest.raises(NandError, match="no state dict"):
        load_tensors(tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (linear_state(width=64), "64 -> 32 do not fit this encoder .48 -> 32."),
        (linear_state(embed=16), "48 -> 16 do not fit"),
        (linear_state(layers=3), "3 linear layers for 4"),
        (linear_state(layers=5), "5 linear layers for 4"),
    ],
)
def test_linear_layers_for_another_model(tmp_path, state, message):
    path = tmp_path / "linear.safetensors"
    save_file(state, path)
    with pytest.raises(NandError, match=message):
        load_vlm(tiny_settings(112, linear_layers=str(path)))


def test_weights_of_another_architecture(tmp_path):
    save_file({"visual.proj": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(NandError, match=r"other\.safetensors: does not fit the model"):
        load_vlm(tiny_settings(112, pretrained=str(tmp_path / "other.safetensors")))


def test_a_block_beyond_the_last():
    with pytest.raises(NandError, match=r"13 asked for.*12 blocks"):
        load_vlm(tiny_settings(112, layers=(3, 13)))


def test_a_device_that_is_not_there():
    with pytest.raises(NandError, match="device: cuda:99"):
        load_vlm(tiny_settings(112, device="cuda:99"))


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": ()},
        {"layers": (0, 3)},
        {"layers": (6, 3)},
        {"layers": (3, 3)},
        {"device": "gpu"},
        {"precision": "8"},
    ],
)
def test_settings_that_make_no_sense(changes):
    with pytest.raises(ValidationError):
        EncoderSettings(**changes)
