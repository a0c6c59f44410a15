"""PatchCore against the published program and anomalib on a seeded network."""

from __future__ import annotations

import json

import pytest
import torch
from oracle_data import ORACLE, tensors
from timm.models.resnet import BasicBlock, ResNet

from nand_core.detectors.backbones import Modules
from nand_core.detectors.base import Context
from nand_core.detectors.coreset import greedy_coreset, sparse_projection, start_from_mean, start_from_point
from nand_core.detectors.patchcore import PatchCore, PatchCoreSettings
from nand_core.vlm.weights import load_tensors

SIZE = 96


@pytest.fixture(scope="module")
def expected():
    return tensors("patchcore_expected.npz")


@pytest.fixture(scope="module")
def features(expected):
    arguments = json.loads((ORACLE / "resnet_tiny.json").read_text())
    model = ResNet(block=BasicBlock, **arguments)
    model.load_state_dict(load_tensors(ORACLE / "resnet_tiny.pt"))
    backbone = Modules(model, ("layer2", "layer3"), SIZE, None, torch.device("cpu"))
    return {split: backbone(expected[split].float() / 16) for split in ("train", "test")}


def detector(variant, **changes):
    settings = {
        "backbone": "timm:tiny.seeded",
        "resize": SIZE,
        "crop": None,
        "dimensions": 64,
        "device": "cpu",
    }
    return PatchCore(PatchCoreSettings(variant=variant, **settings | changes), Context("bottle", None, None))


def close(found, wanted, rtol=0.0, atol=1e-4):
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)


def test_backbone_features(features, expected):
    for found, name in zip(features["train"], ("train_layer2", "train_layer3"), strict=True):
        close(found, expected[name])


@pytest.mark.parametrize(("variant", "prefix"), [("published", "off"), ("anomalib", "ano")])
def test_embedding(features, expected, variant, prefix):
    found = detector(variant).embed(features["train"])
    close(found.flatten(0, 2), expected[f"{prefix}_train_embedding"])


@pytest.mark.parametrize("name", ["off_coreset_idx", "off_exact_greedy_idx"])
def test_published_coreset(features, expected, name):
    embedding = detector("published").embed(features["train"]).flatten(0, 2)
    points = embedding @ expected["off_projection"].T
    if name == "off_coreset_idx":
        start = start_from_mean(points, expected["off_start"])
    else:
        # The program's exact sampler begins at the row of the largest norm in the whole distance matrix.
        start = torch.cdist(points, points).norm(dim=1)
    assert greedy_coreset(points, 57, start).tolist() == expected[name].tolist()


def test_anomalib_coreset(features, expected):
    embedding = detector("anomalib").embed(features["train"]).flatten(0, 2)
    points = embedding @ expected["ano_sparse_matrix"].T
    close(points.norm(dim=1), expected["ano_projected_norms"], rtol=1e-5)
    wanted = expected["ano_coreset_idx"].tolist()
    assert (
        greedy_coreset(points, 57, start_from_point(len(points), wanted[0], points.device)).tolist() == wanted
    )


def test_sparse_projection_is_drawn_as_anomalib_does(expected):
    matrix = expected["ano_sparse_matrix"]
    found = sparse_projection(64, 576, torch.Generator().manual_seed(0))
    assert found.shape == matrix.shape
    close(found.unique(), matrix.unique(), atol=1e-6)
    assert (found != 0).float().mean().item() == pytest.approx(1 / 8, abs=0.02)


def test_published_scores_and_maps(features, expected):
    squared = detector("published", distance="squared")
    squared.load_state({"bank": expected["off_bank"]})
    close(squared.feature_scores(features["test"]), expected["off_score"], rtol=1e-4)
    close(squared.feature_maps(features["test"]), expected["off_map"], rtol=1e-4)


def test_anomalib_scores_and_maps(features, expected):
    anomalib = detector("anomalib")
    anomalib.load_state({"bank": expected["ano_bank"]})
    close(anomalib.feature_scores(features["test"]), expected["ano_score"])
    distances = anomalib._patch_distances(anomalib.embed(features["test"]))[0]
    close(distances.amax(dim=(1, 2)), expected["ano_score_nn1"])
    close(anomalib.feature_maps(features["test"]), expected["ano_map"], atol=1e-3)


def test_a_bank_from_the_coreset_is_the_expected_one(features, expected):
    embedding = detector("published").embed(features["train"]).flatten(0, 2)
    close(embedding[expected["off_coreset_idx"]], expected["off_bank"])
