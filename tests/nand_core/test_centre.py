"""What good patches have in common: the same in whatever batches they come, and off but for what says normal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from nand_core.adaptation.centre import mean_directions, shift
from nand_core.errors import NandError
from nand_core.normality import layer_logits
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.heads import load_adapted
from nand_core.vlm.settings import EncoderSettings

WIDTHS, EMBED = (6, 5), 4


@pytest.fixture(scope="module")
def linear() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(nn.Linear(width, EMBED) for width in WIDTHS).requires_grad_(False)


def encoding(images: int, seed: int) -> list[Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(images, width, 3, 2, generator=made) for width in WIDTHS]


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_the_mean_is_the_same_in_whatever_batches_they_come(linear, sizes, seed):
    parts = [encoding(size, seed + number) for number, size in enumerate(sizes)]
    whole = [torch.cat(layers) for layers in zip(*parts, strict=True)]
    for one, two in zip(mean_directions(parts, linear, EMBED), mean_directions([whole], linear, EMBED), strict=True):
        assert one.dtype == torch.float64 and one.norm() <= 1 + 1e-6
        torch.testing.assert_close(one, two, atol=1e-7, rtol=0)


def test_without_images_there_is_nothing_in_common(linear):
    assert all(torch.equal(mean, torch.zeros(EMBED).double()) for mean in mean_directions([], linear, EMBED))


@settings(deadline=None, max_examples=50)
@given(share=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_what_they_share_with_plain_normality_stays(share, seed):
    made = torch.Generator().manual_seed(seed)
    mean = torch.randn(EMBED, generator=made).double() / 4
    normal = F.normalize(torch.randn(EMBED, generator=made), dim=0)
    off = shift(mean, normal, share)
    assert off.dtype == torch.float32 and abs(float(off @ normal)) < 1e-6
    across = (mean - (mean @ normal.double()) * normal).float()
    torch.testing.assert_close(off, share * across, atol=1e-6, rtol=0)


def test_a_patch_that_is_what_all_are_speaks_for_no_text_but_normality(linear, tmp_path):
    """All of it off, it is as near to any text at right angles to normality as to any other."""
    texts = torch.eye(EMBED)
    (layer,), same = linear[:1], torch.randn(1, WIDTHS[0], 1, 1).expand(2, -1, 3, 2)
    (mean,) = mean_directions([[same]], [layer], EMBED)
    save_file({"0.shift": shift(mean, texts[0], 0.999_999)}, tmp_path / "one.safetensors")
    own = load_adapted(tmp_path / "one.safetensors", nn.ModuleList([layer]), WIDTHS[:1], EMBED)
    before, after = (layer_logits([same], [one], texts, 1.0)[0][0, :, 0, 0] for one in (layer, own[0]))
    assert before[1:].abs().max() > 0.1
    torch.testing.assert_close(after[1:], torch.zeros(EMBED - 1), atol=1e-3, rtol=0)
    assert after[0].sign() == before[0].sign()


@pytest.mark.parametrize(
    ("tensors", "shared"),
    [
        ({"0.shift": torch.zeros(EMBED)}, True),
        ({"0.shift": torch.zeros(EMBED), "1.shift": torch.zeros(EMBED + 1)}, True),
        ({"0.shift": torch.zeros(EMBED), "1.shift": torch.zeros(EMBED), "2.shift": torch.zeros(EMBED)}, True),
        ({"0.shift": torch.zeros(EMBED), "1.shift": torch.zeros(EMBED)}, False),
        ({"0.shift": torch.zeros(EMBED), "1.shift": torch.zeros(EMBED), "what": torch.zeros(1)}, True),
    ],
)
def test_a_file_that_is_not_for_this_encoder_is_refused(linear, tmp_path, tensors, shared):
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(NandError, match=r"a\.safetensors: not heads for this encoder"):
        load_adapted(tmp_path / "a.safetensors", linear if shared else None, WIDTHS, EMBED)


def test_centring_twice_is_centring_once(tmp_path):
    vlm = load_vlm(EncoderSettings(device="cpu"))
    shifts = {f"{number}.shift": torch.full((vlm.embed_dim,), 0.05) for number in range(len(vlm.widths))}
    save_file(shifts, tmp_path / "a.safetensors")
    once = vlm.adapted(tmp_path / "a.safetensors")
    tokens = torch.randn(1, 2, 2, vlm.widths[0])
    assert torch.equal(once.adapted(tmp_path / "a.safetensors").linear[0](tokens), once.linear[0](tokens))
    assert not torch.equal(vlm.linear[0](tokens), once.linear[0](tokens))
