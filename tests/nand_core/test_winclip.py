"""WinCLIP's windows, references and state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from oracle_data import Batch, images, tiny_vlm
from pydantic import ValidationError
from safetensors.torch import load, save

from nand_core.detectors.base import Context
from nand_core.detectors.settings import WinCLIPSettings
from nand_core.detectors.winclip import WinCLIP
from nand_core.detectors.windows import encode_windows, harmonic_mean, window_index
from nand_core.errors import NandError

FEW_PROMPTS = {
    "templates": ("a photo of a {}.",),
    "normal_states": ("{}",),
    "abnormal_states": ("damaged {}",),
}


@pytest.fixture(scope="module")
def vlm():
    return tiny_vlm(112)


def detector(vlm, **settings):
    return WinCLIP(WinCLIPSettings(**FEW_PROMPTS | settings), Context("metal_nut", lambda: vlm, None))


def good(*ids):
    return Batch(images("ref0", "ref1", "img1")[: len(ids)], list(ids))


def test_zero_shot_needs_no_training(vlm):
    zero = detector(vlm)
    assert not zero.trained and zero.needs == {"vlm"}
    zero.fit([])
    assert zero.state() == {} and zero.reference_ids == []
    zero.load_state({})
    maps = zero.maps(Batch(images("img0", "img2")))
    assert maps.shape == (2, 112, 112) and maps.dtype == torch.float32
    assert maps.min() >= 0 and maps.max() <= 1


def test_class_names_are_spoken_with_spaces(vlm):
    wanted = vlm.encode_text(["a photo of a metal nut.", "a photo of a damaged metal nut."], normalize=False)
    torch.testing.assert_close(detector(vlm).text(), wanted)


def test_references_are_the_first_of_a_seeded_shuffle(vlm):
    chosen = {}
    for seed in range(6):
        few = detector(vlm, shots=1, seed=seed)
        few.fit([good("c.png", "a.png"), good("b.png")])
        again = detector(vlm, shots=1, seed=seed)
        again.fit([good("b.png"), good("c.png", "a.png")])
        assert few.reference_ids == again.reference_ids
        chosen[seed] = few.reference_ids[0]
    assert set(chosen.values()) == {"a.png", "b.png", "c.png"}
    more = detector(vlm, shots=2, seed=0)
    more.fit([good("c.png", "a.png"), good("b.png")])
    assert more.reference_ids[0] == chosen[0]


def test_only_batches_with_a_reference_are_decoded(vlm):
    class Untouchable(Batch):
        def images(self):
            raise AssertionError("decoded without need")

    few = detector(vlm, shots=1)
    [chosen] = few._choose(["a.png", "b.png"])
    rest = {"a.png", "b.png"} - {chosen}
    few.fit([good(chosen), Untouchable([], list(rest))])
    assert few.reference_ids == [chosen]


def test_a_reference_itself_is_no_anomaly(vlm):
    few = detector(vlm, shots=2)
    few.fit([good("a.png", "b.png")])
    pixels = torch.stack([vlm.preprocess(picture) for picture in images("ref0", "img2")])
    distance = few.few_shot(encode_windows(vlm, pixels, (2, 3)))
    assert distance[0].max() < 1e-4 < distance[1].max()
    assert distance.min() >= 0


def test_state_goes_through_safetensors(vlm):
    few = detector(vlm, shots=2)
    few.fit([good("a.png", "b.png")])
    again = detector(vlm, shots=2)
    again.load_state(load(save(few.state())))
    assert again.reference_ids == few.reference_ids
    test = Batch(images("img0"))
    assert torch.equal(few.maps(test), again.maps(test))


@pytest.mark.parametrize("changes", [{"shots": 0}, {"shots": 1}, {"scales": (2,)}, {"scales": (2, 4)}])
def test_states_that_do_not_fit(vlm, changes):
    few = detector(vlm, shots=2)
    few.fit([good("a.png", "b.png")])
    with pytest.raises(NandError, match="detector state"):
        detector(vlm, **{"shots": 2} | changes).load_state(few.state())


def test_a_state_of_another_encoder(vlm):
    few = detector(vlm, shots=1)
    few.fit([good("a.png")])
    with pytest.raises(NandError, match="patches has shape"):
        detector(tiny_vlm(160), shots=1).load_state(few.state())


def test_too_few_references(vlm):
    with pytest.raises(NandError, match=r"shots=3.*2 good"):
        detector(vlm, shots=3).fit([good("a.png", "b.png")])


def test_no_references_yet(vlm):
    with pytest.raises(NandError, match="fit the detector"):
        detector(vlm, shots=1).maps(Batch(images("img0")))


def test_windows_larger_than_the_grid(vlm):
    with pytest.raises(NandError, match="windows of 8 patches in a grid of 7x7"):
        detector(vlm, scales=(2, 8)).maps(Batch(images("img0")))


def test_the_whole_image_as_window_is_the_image(vlm):
    features = encode_windows(vlm, vlm.preprocess(*images("img0"))[None], (7,))
    torch.testing.assert_close(features.windows[0][:, 0], features.image)


def test_one_pass_or_many_give_the_same_windows(vlm, monkeypatch):
    pixels = vlm.preprocess(*images("img0"))[None]
    whole = encode_windows(vlm, pixels, (2, 3))
    monkeypatch.setattr("nand_core.detectors.windows.TOKENS_AT_ONCE", 16)
    parts = encode_windows(vlm, pixels, (2, 3))
    for one, other in zip(whole.windows, parts.windows, strict=True):
        torch.testing.assert_close(one, other)


@examples(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), min_size=36, max_size=36))
def test_harmonic_mean_lies_between_the_windows_of_each_patch(scores):
    index, grid = window_index((7, 7), 2), (7, 7)
    found = harmonic_mean(torch.tensor([scores]), index, grid)[0].flatten()
    for patch in (0, 3, 24, 48):
        around = torch.tensor(scores)[(index == patch).any(dim=1)].clamp(min=1e-12)
        wanted = len(around) / (1 / around.double()).sum()
        assert found[patch].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_a_zero_does_not_spoil_the_map():
    found = harmonic_mean(torch.zeros(1, 36), window_index((7, 7), 2), (7, 7))
    assert found.isfinite().all() and found.max() < 1e-6


@pytest.mark.parametrize("settings", [{"shots": -1}, {"scales": ()}, {"temperature": 0}, {"templates": ()}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        WinCLIPSettings(**settings)
