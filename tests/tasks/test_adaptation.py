"""Heads for an open_clip model that has none: learned onto the model's own texts, from one photograph."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nand_core.artifacts.store import Store, sha256_file
from nand_core.asked import Asked, answer
from nand_core.config import Params
from nand_core.errors import NandError
from nand_core.settings import SuppressionSettings
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.settings import EncoderSettings
from tasks.adaptation import (
    CentreSpec,
    CommitteeSpec,
    HeadsSpec,
    PicturesSpec,
    adapted_heads,
    centred_heads,
    drawn_patches,
    learned_heads,
)
from tasks.encoder import encoder_key, shared_encoder
from tasks.image_features import EncodeSpec, Shard, image_features
from tasks.work import Work

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Work:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**CONFIG).state_dict(), folder / "clip.safetensors")
    (folder / "clip.json").write_text(json.dumps(CONFIG))
    encoder = {"model": str(folder / "clip.json"), "pretrained": str(folder / "clip.safetensors"), "device": "cpu"}
    params = {"dataset": {"kind": "folder", "root": "x"}, "detectors": {"a": {"kind": "april_gan"}},
              "encoder": encoder | {"adapt": {}}}  # fmt: skip
    return Work(Params.model_validate(params), folder, Store(root=folder / "store"))


def picture(work: Work, size: int) -> PicturesSpec:
    name = f"good{size}.png"
    if size:
        Image.effect_noise((size, size), 40).save(work.root / name)
    images = {"images": (sha256_file(work.root / name),), "paths": (name,)} if size else {}
    return PicturesSpec(**images, seed=1, first=0, count=12, encoder=encoder_key(work.params.encoder))


@pytest.fixture(scope="module")
def heads(work) -> Path:
    painted = tuple(drawn_patches(picture(work, size), work) for size in (64, 4000))
    scenes = (drawn_patches(picture(work, 0), work),)
    members = [
        HeadsSpec(class_name="metal_nut", pictures=one, steps=30, seed=0, encoder=encoder_key(work.params.encoder))
        for one in ((*painted, *scenes), painted)
    ]
    learned = tuple(learned_heads(spec, work) for spec in members)
    return work.store.path(adapted_heads(CommitteeSpec(members=learned), work))


def test_without_them_the_encoder_cannot_be_asked(work):
    with pytest.raises(NandError, match=r"encoder\.adapt"):
        _ = load_vlm(work.params.encoder).linear


def test_every_layer_has_a_committee_in_the_texts_space(work, heads):
    vlm = shared_encoder(work).adapted(heads)
    assert [len(head.members) for head in vlm.linear] == [2, 2, 2, 2]
    pixels = torch.rand(2, 3, 64, 64)
    for tokens, head in zip(vlm.encode_images(pixels).layers, vlm.linear, strict=True):
        assert head(tokens.movedim(1, -1)).shape == (2, 4, 4, 24)


def test_a_normality_can_be_asked(work, heads):
    vlm = shared_encoder(work).adapted(heads)
    f_add, f_nor = (tuple(vector.tolist()) for vector in vlm.encode_text(["a scratched nut", "a flawless nut"]))
    features = vlm.encode_images(torch.rand(1, 3, 64, 64))
    found = answer(vlm, features, Asked("scratch", f_add, f_nor), SuppressionSettings())
    assert found.shape == (1, 256, 256) and found.min() >= 0 and found.max() <= 1


def test_heads_of_another_encoder_are_refused(work, heads):
    with pytest.raises(NandError, match="not heads for this encoder"):
        load_vlm(EncoderSettings(device="cpu")).adapted(heads)


def centred(work: Work, heads: Path, images: int) -> Path:
    key, record = encoder_key(work.params.encoder), work.store.put(heads.read_bytes(), "safetensors")
    shards = ()
    if images:
        names = [f"part{number}.png" for number in range(images)]
        for name in names:
            Image.effect_noise((64, 64), 40).save(work.root / name)
        digests = tuple(sha256_file(work.root / name) for name in names)
        encoded = image_features(EncodeSpec(images=digests, paths=tuple(names), encoder=key), work)
        shards = (Shard(ids=tuple(names), images=digests, features=encoded),)
    spec = CentreSpec(shards=shards, normal=("a flawless nut",), share=0.4, encoder=key, heads=record)
    return work.store.path(centred_heads(spec, work))


def test_learned_heads_are_centred_on_good_images(work, heads):
    found = load_file(centred(work, heads, images=3))
    learned = load_file(heads)
    assert all(torch.equal(found.pop(name), value) for name, value in learned.items())
    assert sorted(found) == [f"{number}.shift" for number in range(4)]
    normal = shared_encoder(work).encode_text(["a flawless nut"])[0]
    for value in found.values():
        assert 0.05 < value.norm() < 0.4 and abs(value @ normal) < 1e-5


def test_without_good_images_nothing_is_taken_off(work, heads):
    centre = centred(work, heads, images=0)
    plain, other = shared_encoder(work).adapted(heads), shared_encoder(work).adapted(centre)
    for one, two, width in zip(plain.linear, other.linear, plain.widths, strict=True):
        tokens = torch.randn(1, 4, 4, width)
        torch.testing.assert_close(two(tokens), torch.nn.functional.normalize(one(tokens), dim=-1))


def test_centres_of_another_encoder_are_refused(work, heads):
    with pytest.raises(NandError, match="not heads for this encoder"):
        load_vlm(EncoderSettings(device="cpu")).adapted(centred(work, heads, images=0))
