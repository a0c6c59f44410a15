"""The model: plain open_clip, with a faster way through its image tower for training."""

from __future__ import annotations

import math
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.targets import LOGIT_SCALE

LAYERS = (2, 4, 6)  # 1-based blocks whose tokens get a linear layer
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def model_config(
    vocab_size: int, embed_dim: int = 64, width: int = 128, layers: int = 6, text_width: int = 96
) -> dict[str, Any]:
    """open_clip's config of the embedded model, with what the project's encoder reads beside it."""
    return {
        "embed_dim": embed_dim,
        "vision_cfg": {
            "image_size": 128,
            "patch_size": 8,
            "width": width,
            "layers": layers,
            "head_width": 32,
        },
        "text_cfg": {
            "context_length": 32,
            "vocab_size": vocab_size,
            "width": text_width,
            "heads": text_width // 32,
            "layers": 3,
        },
        "preprocess_cfg": {"mean": list(MEAN), "std": list(STD)},
        "layers": list(LAYERS),
        "logit_scale": LOGIT_SCALE,
        "tokenizer": "vocabulary.txt",
    }


def build_clip(config: dict[str, Any]) -> open_clip.CLIP:
    model = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    nn.init.constant_(model.logit_scale, math.log(config["logit_scale"]))
    return model


def start_patch_embedding(visual: nn.Module) -> None:
    """Start the patch embedding from DCT filters of brightness and colour differences."""
    weight = visual.conv1.weight
    size = weight.shape[-1]
    k, n = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = torch.cos(math.pi * (n + 0.5) * k / size) * torch.where(k == 0, 1.0, 2.0**0.5) / size**0.5
    order = sorted((u + v, u, v) for u in range(size) for v in range(size))
    planes = [
        torch.tensor([1.0, 1, 1]) / 3**0.5,
        torch.tensor([1.0, -1, 0]) / 2**0.5,
        torch.tensor([1.0, 1, -2]) / 6**0.5,
    ]
    filters = [
        p[:, None, None] * torch.outer(waves[u], waves[v])
        for p, count in zip(planes, (size**2, 32, 32), strict=True)
        for _, u, v in order[:count]
    ]
    # Gains that rise with frequency: images have little there, and ln_pre would leave brightness alone.
    gains = [
        0.08 if u + v == 0 else 0.2 + 0.12 * (u + v)
        for count in (size**2, 32, 32)
        for _, u, v in order[:count]
    ]
    with torch.no_grad():
        for row, kernel, gain in zip(weight, filters, gains, strict=False):
            row.copy_(gain * kernel)


class Tower(nn.Module):
    """open_clip's ``VisionTransformer`` and one linear layer for each of ``LAYERS``.

    Attention runs as plain batched matrix products, which is faster than the fused kernel on a CPU; the
    weights stay in open_clip's module.
    """

    def __init__(self, visual: nn.Module, layers: tuple[int, ...] = LAYERS) -> None:
        super().__init__()
        self.visual, self.layers = visual, layers
        dim = visual.proj.shape[1]
        self.fc = nn.ModuleList(nn.Linear(visual.proj.shape[0], dim) for _ in layers)

    def embed(self, images: Tensor) -> Tensor:
        """Class and patch tokens (n, 1 + patches, width) after the position embedding, before ln_pre."""
        v, size = self.visual, self.visual.conv1.weight.shape[-1]
        n, channels, height, width = images.shape
        patches = images.view(n, channels, height // size, size, width // size, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * size * size)
        tokens = F.linear(patches, v.conv1.weight.flatten(1))
        cls = v.class_embedding.to(tokens.dtype).expand(n, 1, -1)
        return torch.cat([cls, tokens], 1) + v.positional_embedding.to(tokens.dtype)

    def blocks(self, tokens: Tensor) -> list[Tensor]:
        """The residual stream (n, tokens, width) after every block."""
        v, out = self.visual, []
        x = _norm(v.ln_pre, tokens.float())
        for block in v.transformer.resblocks:
            attention = block.attn
            n, length, width = x.shape
            qkv = F.linear(_norm(block.ln_1, x), attention.in_proj_weight, attention.in_proj_bias)
            q, k, u = qkv.view(n, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
            weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
            mixed = (weights.to(u.dtype) @ u).transpose(1, 2).reshape(n, length, width)
            x = x + attention.out_proj(mixed).float()
            x = x + block.mlp(_norm(block.ln_2, x)).float()
            out.append(x)
        return out

    def project(self, cls: Tensor) -> Tensor:
        """Joint embedding (n, dim), not normalised, of class tokens (n, width)."""
        return _norm(self.visual.ln_post, cls) @ self.visual.proj

    def forward(self, images: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Unit patch embeddings (layers, n, patches, dim), class embedding (n, dim), tokens of windows.

        ``seen`` (n, k) limits the patches of each image, and the results, to those of these numbers.
        """
        tokens = self.embed(images)
        if seen is not None:
            rows = torch.cat([torch.zeros_like(seen[:, :1]), seen + 1], 1)
            tokens = tokens.gather(1, rows[..., None].expand(-1, -1, tokens.shape[-1]))
        states = self.blocks(tokens)
        patches = [
            F.normalize(fc(states[k - 1][:, 1:]).float(), dim=-1)
            for k, fc in zip(self.layers, self.fc, strict=True)
        ]
        return torch.stack(patches), self.project(states[-1][:, 0]), tokens

    def windows(self, tokens: Tensor, image: Tensor, members: Tensor) -> Tensor:
        """Class embeddings (m, dim) of windows: ``members`` (m, k) patch numbers in images ``image`` (m,)."""
        chosen = tokens[image[:, None], members + 1]
        return self.project(self.blocks(torch.cat([tokens[image, :1], chosen], 1))[-1][:, 0])


def _norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(
        x, layer.normalized_shape, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.eps
    )
