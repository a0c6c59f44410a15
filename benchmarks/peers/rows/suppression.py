"""The base map and four normalities of an image, beside one bare forward of the model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers import clip
from benchmarks.peers.pairs import Pair, Size
from nand_core.normality import suppression_map, text_map
from nand_core.settings import SuppressionSettings
from nand_core.vlm.encoder import VLM

NAME = "ViT-B-16"
NORMALITIES = 4


def pairs(size: Size) -> Iterator[Pair]:
    """At two sizes; each normality competes with the others, as the class's groups do."""
    config = clip.TINY if size.quick else clip.config(NAME)
    for side in (112,) if size.quick else (240, 336):
        yield pair(clip.encoder(config, side))


def pair(vlm: VLM) -> Pair:
    """For an encoder."""
    side = vlm.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    texts = torch.randn(2 + NORMALITIES, vlm.embed_dim, generator=torch.Generator().manual_seed(1))
    normal, abnormal, *added = F.normalize(texts, dim=-1)
    settings = SuppressionSettings(dilation=55, competing=True)

    @torch.no_grad()
    def ours() -> Tensor:
        features = vlm.encode_images(pixels)
        asked = features.asked, vlm.linear
        text_map(*asked, torch.stack([abnormal, normal]), vlm.logit_scale, "sum", side)
        for number, one in enumerate(added):
            others = torch.stack(added[:number] + added[number + 1 :])
            suppression_map(*asked, one, normal, vlm.logit_scale, settings, others)
        return features.pooled

    @torch.no_grad()
    def bare() -> Tensor:
        return vlm.model.visual(pixels)

    def check(one: Tensor, other: Tensor) -> str:
        torch.testing.assert_close(one, F.normalize(other, dim=-1), rtol=0, atol=1e-4)
        return "image embeddings to 1e-4"

    what = f"encode, base map, {NORMALITIES} normalities, {NAME} at {side}"
    return Pair(what, "one bare forward", ours, bare, check, aim=1.1)
