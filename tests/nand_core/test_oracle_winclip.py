"""WinCLIP against anomalib on seeded weights."""

from __future__ import annotations

import pytest
import torch
from oracle_data import Batch, images, prompts, tensors, tiny_vlm

from nand_core.detectors.base import Context
from nand_core.detectors.settings import WINCLIP_ABNORMAL, WINCLIP_TEMPLATES, WinCLIPSettings
from nand_core.detectors.winclip import WinCLIP
from nand_core.detectors.windows import encode_windows, window_index
from nand_core.prompts.templates import NORMAL_STATES

GRID = (7, 7)


@pytest.fixture(scope="module")
def expected():
    return tensors("winclip_anomalib_expected.npz")


@pytest.fixture(scope="module")
def vlm():
    return tiny_vlm(112)


@pytest.fixture(scope="module")
def features(vlm):
    pixels = torch.stack([vlm.preprocess(picture) for picture in images("img0", "img1", "img2")])
    return encode_windows(vlm, pixels, (2, 3))


@pytest.fixture(scope="module")
def fitted(vlm):
    """Detectors for 0, 1 and 2 shots; the references are given, so their choice plays no part."""
    detectors = []
    for shots in range(3):
        detector = WinCLIP(WinCLIPSettings(shots=shots), Context("bottle", lambda: vlm, None))
        names = ["ref0", "ref1"][:shots]
        detector.fit([Batch(images(*names), names)] if names else [])
        detectors.append(detector)
    return detectors


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_prompts():
    wanted = prompts("winclip_prompts.json")
    for states, kind in ((NORMAL_STATES, "normal"), (WINCLIP_ABNORMAL, "abnormal")):
        found = [template.format(state.format("bottle")) for state in states for template in WINCLIP_TEMPLATES]
        assert found == wanted[kind]


@pytest.mark.parametrize("scale", [2, 3])
def test_windows(expected, scale):
    assert torch.equal(window_index(GRID, scale).T, expected[f"masks{scale}"].long())


def test_text(fitted, expected):
    close(fitted[0].text(), expected["text"])


def test_embeddings(features, expected):
    close(features.image, expected["image_emb"])
    close(features.windows[0], expected["win2_emb"])
    close(features.windows[1], expected["win3_emb"])
    close(features.patches, expected["patch_emb"])


def test_grids(fitted, features, expected):
    close(fitted[0].zero_shot(features)[1], expected["zero_grid"])
    close(fitted[2].few_shot(features), expected["few_grid_2"])


@pytest.mark.parametrize("shots", [0, 1, 2])
def test_scores_and_maps(fitted, expected, shots):
    scores, maps = fitted[shots].scores_and_maps(images("img0", "img1", "img2"))
    close(scores, expected[f"score_{shots}"])
    close(maps, expected[f"map_{shots}"])
