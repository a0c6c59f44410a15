"""The rehearsal's parts: a miniature with MVTec AD's names, and small models that the paper's settings can load."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from benchmarks.rehearsal import tree
from benchmarks.rehearsal.__main__ import PROFILE
from benchmarks.rehearsal.models import small_settings
from nand.weights import needed_files
from nand_core.config import Params, load_params
from nand_core.datasets.manifest import build_manifest
from nand_core.datasets.mvtec_ad import OFFICIAL, paper_groups
from nand_core.detectors.backbones import load_backbone
from nand_core.errors import NandError
from nand_core.vlm.encoder import load_vlm


@pytest.fixture(scope="module")
def profile() -> Params:
    return load_params(PROFILE)


@pytest.fixture(scope="module")
def small(profile, tmp_path_factory) -> tuple[Params, object]:
    folder = tmp_path_factory.mktemp("small")
    return Params.model_validate(small_settings(profile, folder)), folder


def test_the_miniature_has_the_papers_classes_and_groups(profile, tmp_path, monkeypatch):
    for count in ("TRAIN", "TEST", "PER_TYPE"):
        monkeypatch.setattr(tree, count, 1)
    tree.draw_miniature(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(OFFICIAL)
    manifest = build_manifest(profile.dataset.model_copy(update={"check_counts": False}), tmp_path)
    groups = manifest[manifest["group"] != ""].groupby(["class", "group"])["type"].unique()
    assert {key: set(types) for key, types in groups.items()} == {
        (name, group): set(types) for name, known in paper_groups().items() for group, types in known.items()
    }
    assert len(groups) == 56 and "combined" not in set(manifest["type"]) and manifest["sha256"].is_unique
    assert (manifest.loc[manifest["type"] != "good", "mask"] != "").all()
    with Image.open(tmp_path / "zipper/train/good/000.png") as image:
        assert image.mode == "L"
    with pytest.raises(NandError, match="not the complete MVTec AD"):
        build_manifest(profile.dataset, tmp_path)


def test_only_paths_and_sizes_are_replaced(profile, small):
    params, _ = small
    replaced = {"model", "pretrained", "image_size", "weights", "resize", "crop"}

    def rest(values):
        if not isinstance(values, dict):
            return values
        return {key: rest(value) for key, value in values.items() if key not in replaced}

    assert rest(params.model_dump()) == rest(profile.model_dump())


def test_the_small_models_load_as_the_large_ones_would(small, monkeypatch):
    params, folder = small
    monkeypatch.chdir(folder)
    assert {file.state for file in needed_files(params)} == {"here"}
    vlm = load_vlm(params.encoder.model_copy(update={"device": "cpu"}))
    assert vlm.layers == (6, 12, 18, 24) and len(vlm.linear) == 4
    features = vlm.encode_images(torch.zeros(1, 3, vlm.image_size, vlm.image_size))
    assert {layer.shape for layer in features.layers} == {(1, 64, 16, 16)}
    own = load_vlm(params.detectors["winclip_5"].encoder.model_copy(update={"device": "cpu"}))
    assert own.image_size == 240
    patchcore = params.detectors["patchcore"].model_copy(update={"device": "cpu"})
    shapes = [output.shape[1:] for output in load_backbone(patchcore, torch.device("cpu"))(torch.zeros(1, 3, 56, 56))]
    assert shapes == [(512, 7, 7), (1024, 4, 4)]


@pytest.mark.parametrize(
    ("changes", "message"), [({"model": "ViT-L-14-366"}, "ViT-L-14-336"), ({"pretrained": "opanai"}, "known: openai")]
)
def test_a_wrong_name_in_the_profile_is_found(profile, tmp_path, changes, message):
    wrong = profile.model_copy(update={"encoder": profile.encoder.model_copy(update=changes)})
    with pytest.raises(NandError, match=message):
        small_settings(wrong, tmp_path)
