"""WinCLIP without examples, beside anomalib's with the same model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest.mock import patch

import torch
import torch.nn.functional as F
from anomalib.models.image.winclip import torch_model
from torch import Tensor

from benchmarks.peers import clip
from benchmarks.peers.pairs import Pair, Size
from nand_core.detectors.base import Context
from nand_core.detectors.settings import WinCLIPSettings
from nand_core.detectors.winclip import WinCLIP
from nand_core.detectors.windows import WindowFeatures, encode_windows

NAME, OBJECT, SIDE = "ViT-B-16-plus-240", "bottle", 240


class Mended(torch_model.WinClipModel):
    """anomalib's, for the open_clip that is installed, whose transformer takes (windows, tokens, width).

    anomalib hands it (tokens, windows, width), as open_clip before 2.25 wanted it: each token would look at the same
    token of the other windows.
    """

    def _get_window_embeddings(self, feature_map: Tensor, masks: Tensor) -> Tensor:
        transformer = self.clip.visual.transformer
        forward = transformer.forward
        with patch.object(transformer, "forward", lambda x: forward(x.permute(1, 0, 2)).permute(1, 0, 2)):
            return super()._get_window_embeddings(feature_map, masks)


def close(tolerance: float) -> Callable[[Tensor, Tensor], str]:
    """Maps, whose values lie in [0, 1], to so much."""

    def check(one: Tensor, other: Tensor) -> str:
        difference = float((one - other).abs().max())
        assert difference <= tolerance, f"maps differ by {difference:.1e}"
        return f"maps to {difference:.0e}"

    return check


def pairs(size: Size) -> Iterator[Pair]:
    """One image, from pixels to maps; the texts are encoded before."""
    vlms = {dtype: clip.encoder(clip.config(NAME), SIDE, dtype) for dtype in (torch.float32, torch.bfloat16)}
    model = vlms[torch.float32].model
    with patch.object(torch_model, "PRETRAINED", None):
        theirs = Mended(scales=(2,) if size.quick else (2, 3))
    theirs.clip.load_state_dict(model.state_dict())
    theirs.eval()
    theirs.setup(OBJECT)
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def ours(dtype: torch.dtype) -> Callable[[], Tensor]:
        vlm = vlms[dtype]
        detector = WinCLIP(WinCLIPSettings(scales=theirs.scales), Context(OBJECT, lambda: vlm, tuple))
        # The texts of fp32: only the time of the images is looked at.
        detector._text = theirs.text_embeddings

        def run() -> Tensor:
            features: WindowFeatures = encode_windows(vlm, pixels, theirs.scales)
            grids = detector.grids(features)[1]
            return F.interpolate(grids[:, None], size=(SIDE, SIDE), mode="bilinear")[:, 0]

        return run

    def peer() -> Tensor:
        return theirs(pixels).anomaly_map

    @torch.no_grad()
    def bare() -> None:
        model.visual(pixels)

    grid = model.visual.grid_size[0]
    tokens = 1 + grid**2 + sum((grid + 1 - scale) ** 2 * (1 + scale**2) for scale in theirs.scales)
    hidden = torch.randn(tokens, model.visual.conv1.out_channels, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def products() -> None:
        for block in model.visual.transformer.resblocks:
            F.linear(hidden, block.attn.in_proj_weight, block.attn.in_proj_bias)
            block.attn.out_proj(hidden)
            block.mlp.c_proj(block.mlp.c_fc(hidden))

    full = ours(torch.float32)
    yield Pair(f"WinCLIP-0, {NAME}, one image", "anomalib's, windows mended", full, peer, close(1e-4), aim=0.33)
    yield Pair("WinCLIP-0 in bf16", "anomalib's in fp32", ours(torch.bfloat16), peer, close(1e-3), aim=0.33)
    yield Pair("WinCLIP-0", f"the matrix products of its {tokens} tokens", full, products, lambda *_: "a bound")
    yield Pair("WinCLIP-0", f"one bare forward, {1 + grid**2} tokens", full, bare, lambda *_: "not the same")
