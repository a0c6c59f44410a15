"""Embeddings of an image, of its windows and of its patches by one ViT (WinCLIP, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nand_core.errors import NandError

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

    from nand_core.vlm.encoder import VLM

TOKENS_AT_ONCE = 2**14


@dataclass(frozen=True)
class WindowFeatures:
    """The encoding of N images on a grid of P = h * w patches.

    Attributes:
        image: (N, E) embeddings of the whole images, not normalised.
        windows: per scale (N, W, E), windows row by row, not normalised.
        patches: (N, P, C) last block's tokens after the final LayerNorm, not projected.
    """

    image: Tensor
    windows: tuple[Tensor, ...]
    patches: Tensor


def window_index(grid: tuple[int, int], scale: int) -> Tensor:
    """(W, scale * scale) int64 patch numbers of every window of a grid, at stride 1."""
    numbers = torch.arange(grid[0] * grid[1]).view(grid)
    return numbers.unfold(0, scale, 1).unfold(1, scale, 1).reshape(-1, scale * scale)


def patch_grid(vlm: VLM, scales: Sequence[int]) -> tuple[int, int]:
    """The grid (h, w) of the encoder's patches.

    Raises:
        NandError: the encoder is no ViT with a class token, or a scale does not fit into the grid.
    """
    from open_clip.transformer import VisionTransformer

    visual = vlm.model.visual
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.pool_type != "tok":
        raise NandError(
            "winclip: needs an encoder with a ViT that pools its class token; set winclip.encoder to one"
        )
    grid = tuple(visual.grid_size)
    if max(scales) > min(grid):
        raise NandError(f"winclip.scales: windows of {max(scales)} patches in a grid of {grid[0]}x{grid[1]}")
    return grid


@torch.no_grad()
def encode_windows(vlm: VLM, pixels: Tensor, scales: Sequence[int]) -> WindowFeatures:
    """Encode preprocessed images (N, 3, S, S): a window is the class token and its patches alone."""
    visual = vlm.model.visual
    grid = patch_grid(vlm, scales)
    with vlm.autocast():
        # Patch tokens with their place in the image; the LayerNorm at the end works on each token alone, so
        # gathering the windows after it is the same as before it.
        tokens = visual._embeds(pixels.to(vlm.device))
        whole = visual.ln_post(visual.transformer(tokens))
        windows = [_encode(visual, tokens, window_index(grid, scale).to(vlm.device)) for scale in scales]
        image = _project(visual, whole[:, 0])
    return WindowFeatures(image.float(), tuple(w.float() for w in windows), whole[:, 1:].float())


def harmonic_mean(scores: Tensor, index: Tensor, grid: tuple[int, int]) -> Tensor:
    """Give each patch the harmonic mean of the windows that cover it.

    Args:
        scores: (N, W) of the windows, >= 0.
        index: (W, k) patch numbers of each window.

    Returns:
        (N, h, w).
    """
    covers = F.one_hot(index, grid[0] * grid[1]).sum(dim=1).to(scores)
    # Zero has no inverse, and rounding can bring a distance below it.
    inverse = 1 / scores.clamp(min=1e-12)
    return (covers.sum(dim=0) / (inverse @ covers)).view(-1, *grid)


def _encode(visual: VisionTransformer, tokens: Tensor, index: Tensor) -> Tensor:
    """(N, 1 + P, C) tokens -> (N, W, E) window embeddings, many windows to a pass."""
    n, (count, size) = len(tokens), index.shape
    with_class = torch.cat([index.new_zeros(count, 1), index + 1], dim=1)
    windows = tokens[:, with_class].flatten(0, 1)
    parts = [visual.transformer(part)[:, 0] for part in torch.split(windows, max(1, TOKENS_AT_ONCE // (size + 1)))]
    return _project(visual, visual.ln_post(torch.cat(parts))).view(n, count, -1)


def _project(visual: VisionTransformer, pooled: Tensor) -> Tensor:
    return pooled if visual.proj is None else pooled @ visual.proj
