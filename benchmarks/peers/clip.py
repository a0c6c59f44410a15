"""CLIPs of a published architecture with seeded weights, as NAND's encoder."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import nn

from nand_core.vlm.build import build_model
from nand_core.vlm.encoder import VLM

LAYERS = (3, 6, 9, 12)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the published models."""
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 112, "layers": 12, "width": 48, "head_width": 12, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 12, "heads": 2, "layers": 2},
}
"""For what is to show only that it runs."""


def config(name: str) -> dict[str, Any]:
    """open_clip's, of an architecture."""
    found: dict[str, Any] = open_clip.get_model_config(name)
    return found


def encoder(config: dict[str, Any], side: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> VLM:
    """For images of ``side`` pixels, with random linear layers."""
    torch.manual_seed(0)
    width, joint, depth = config["vision_cfg"]["width"], config["embed_dim"], config["vision_cfg"]["layers"]
    return VLM(
        build_model(config, side),
        open_clip.get_tokenizer(),
        nn.ModuleList(nn.Linear(width, joint) for _ in LAYERS),
        image_size=side,
        layers=LAYERS,
        widths=[width] * depth,
        asked=[width] * len(LAYERS),
        embed_dim=joint,
        logit_scale=100.0,
        mean=MEAN,
        std=STD,
        device=torch.device(device),
        dtype=dtype,
        batch_size=8,
    )
