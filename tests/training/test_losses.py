from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from nand_core.adaptation.patches import IGNORED, patch_labels
from training.losses import patch_loss, token_loss
from training.measure import auroc

TARGETS = torch.eye(5)  # normal, three types, abnormal
SIBLINGS = torch.eye(3, dtype=torch.bool)


def test_patch_labels_take_the_largest_defect():
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[0, :8, 8:11] = 2
    labels[0, 0, 8:10] = 3
    labels[0, 8, 0:3] = 1
    assert patch_labels(labels, types=3).tolist() == [[0, 2, IGNORED, 0]]


def test_loss_falls_towards_the_right_answer():
    label = torch.tensor([[0, 1, 2, IGNORED]])
    right = TARGETS[[0, 1, 2, 3]][None, None]
    wrong = TARGETS[[1, 2, 3, 0]][None, None]
    good, bad = (patch_loss(x, label, TARGETS, SIBLINGS) for x in (right, wrong))
    assert good["classes"] < 0.01 < bad["classes"]
    assert good["pairs"] < bad["pairs"]


def test_ignored_patches_do_not_count():
    label = torch.tensor([[0, 1, IGNORED]])
    one = F.normalize(torch.randn(2, 1, 3, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    other = one.clone()
    other[:, :, 2] = TARGETS[4]
    for name, value in patch_loss(one, label, TARGETS, SIBLINGS).items():
        assert torch.allclose(value, patch_loss(other, label, TARGETS, SIBLINGS)[name], atol=1e-6), name


def test_token_loss():
    embedding = torch.stack([TARGETS[0], F.normalize(TARGETS[1] + TARGETS[4], dim=0)])
    assert token_loss(embedding, torch.tensor([0, 1]), TARGETS) < 0.1
    assert token_loss(embedding, torch.tensor([1, 0]), TARGETS) > 5
    assert token_loss(embedding, torch.tensor([IGNORED, IGNORED]), TARGETS) == 0


def test_auroc():
    assert auroc(np.array([1, 2, 3, 4]), np.array([0, 0, 1, 1])) == 1
    assert auroc(np.array([1, 1, 1, 1]), np.array([0, 1, 0, 1])) == 0.5
    assert np.isnan(auroc(np.array([1, 2]), np.array([1, 1])))
