from __future__ import annotations

import numpy as np
import torch

from nand_core.adaptation.patches import IGNORED
from nand_core.drawing.scenes import TYPES
from training.windows import draw_views, draw_windows, majority


def test_windows_are_squares_of_adjacent_patches():
    label = torch.zeros(3, 256, dtype=torch.long)
    label[1, 40:44] = 2
    for seed in range(9):
        image, members, target = draw_windows(label, np.random.default_rng(seed), 12)
        side = int(members.shape[1] ** 0.5)
        assert side in (2, 3, 4)
        rows, columns = members // 16, members % 16
        assert ((rows.amax(1) - rows.amin(1)) == side - 1).all()
        assert ((columns.amax(1) - columns.amin(1)) == side - 1).all()
        assert (image[:6] == 1).all()  # half of them on the one defect
        assert set(target[:6].tolist()) <= {2, IGNORED}


def test_views_are_squares_that_mostly_hold_a_defect():
    label = torch.zeros(300, 256, dtype=torch.long)
    label[:, 5] = 1
    seen = draw_views(label, np.random.default_rng(0), 12)
    assert seen.shape == (300, 144)
    assert ((seen // 16).amax(1) - (seen // 16).amin(1) == 11).all()
    assert ((seen % 16).amax(1) - (seen % 16).amin(1) == 11).all()
    assert seen.min() >= 0 and seen.max() < 256
    assert label.gather(1, seen).any(1).float().mean() > 0.8


def test_majority():
    rows = torch.tensor([[0, 0, 0, 0], [3, 3, 1, 0], [0, 0, 0, 5], [0, IGNORED, 0, 0]])
    assert majority(rows, 0.3).tolist() == [0, 3, IGNORED, IGNORED]
    assert max(majority(torch.full((1, 4), len(TYPES)), 0.3).tolist()) == len(TYPES)
