"""The head's training on a few scenes: it learns, and the same seed gives the same bytes."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from nand_core.adaptation.heads import loss, weights
from nand_core.adaptation.patches import Patches
from training.heads import RunSettings, run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list:
    folders = [tmp_path_factory.mktemp("head") for _ in range(2)]
    small = RunSettings("", "", scenes=24, validation=8, steps=100, batch=256)
    for folder in folders:
        (folder / "export").mkdir()
        run(replace(small, export=str(folder / "export"), log=str(folder / "log")))
    return folders


def test_the_same_seed_gives_the_same_bytes(runs):
    names = ("export/head.safetensors", "log/losses.csv", "log/validation.csv", "log/sha256.txt")
    for name in names:
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name


def test_it_learns(runs):
    losses = pd.read_csv(runs[0] / "log/losses.csv")["loss"]
    assert losses.iloc[-1] < 0.8 * losses.iloc[0]
    assert pd.read_csv(runs[0] / "log/validation.csv")["patch_auroc"].item() > 0.5


def test_every_type_weighs_the_same_and_large_defects_patches_less():
    labels = torch.tensor([0] * 8 + [1] * 4 + [2])
    found = Patches(torch.zeros(13, 2), labels, torch.tensor([0] * 8 + [1, 1, 64, 64] + [1]))
    weight = weights(found)
    assert weight[8:12].sum().item() == pytest.approx(weight[12].item(), rel=1e-5)
    assert weight[8] > weight[10] and len(weight[:8].unique()) == 1


def test_the_right_target_costs_least():
    targets = torch.eye(30)
    costs = [loss(targets[kind][None], torch.tensor([3]), torch.ones(1), targets, 30.0).item() for kind in range(30)]
    assert min(range(30), key=costs.__getitem__) == 3
