"""A convolutional network with ImageNet weights as image tower, beside a text tower that was trained on its own.

Real photographs need features that were learned from real photographs. EfficientNet-Lite0 comes in a package of 17 MB;
what its patches mean is told by a head that is trained on drawn defects (``training/heads.py``), or by the embedded
model's image tower beside it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nand_core.errors import NandError
from nand_core.vlm.blocks import block_widths
from nand_core.vlm.build import build_model, load_weights
from nand_core.vlm.files import WeightFile
from nand_core.vlm.weights import load_tensors


class ConvTower(nn.Module):
    """Blocks of a timm network side by side, as open_clip's image towers give theirs.

    Args:
        name: of the timm model.
        stages: numbers of its blocks, from 0; their maps are brought to one grid.
        stride: side of a patch of that grid in pixels.
    """

    def __init__(self, name: str, stages: Sequence[int], stride: int) -> None:
        import timm

        super().__init__()
        network: Any = timm.create_model(name, pretrained=False)
        self.stem = nn.Sequential(OrderedDict(conv=network.conv_stem, norm=network.bn1))
        self.blocks = network.blocks[: max(stages) + 1]
        self.stages, self.stride = tuple(stages), stride
        self.to(memory_format=torch.channels_last)  # a fifth faster on a CPU

    def forward_intermediates(self, pixels: Tensor, **_: object) -> dict[str, Any]:
        """One "block" (N, C, h, w): the chosen ones' channels side by side, raw."""
        height, width = pixels.shape[-2:]
        grid = max(1, height // self.stride), max(1, width // self.stride)
        found, x = [], self.stem(pixels.contiguous(memory_format=torch.channels_last))
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.stages:
                found.append(_on_grid(x, grid))
        return {"image_intermediates": [torch.cat(found, dim=1)]}


class PairedTower(nn.Module):
    """A tower whose features are compared, and one beside it that understands texts.

    Args:
        compared: as given.
        beside: an image tower of open_clip.
        blocks: 0-based numbers of its blocks that texts are asked of.
        side: of its input in pixels: what the first one sees, averaged.
        factor: of its input, where both inputs have the same mean: the first one's standard deviation over its own.

    Attributes:
        widths: C of each of those blocks.
    """

    factor: Tensor
    widths: list[int]

    def __init__(
        self, compared: ConvTower, beside: Any, blocks: Sequence[int], side: int, factor: Sequence[float]
    ) -> None:
        super().__init__()
        self.compared, self.beside = compared, beside
        every = block_widths(beside, side)
        self.widths = [every[block] for block in blocks]
        self._blocks, self._side = list(blocks), side
        self.register_buffer("factor", torch.tensor(factor).view(3, 1, 1), persistent=False)

    def forward_intermediates(self, pixels: Tensor, **_: object) -> dict[str, Any]:
        """The first one's block; as ``beside_intermediates`` the second one's, whose ``image_features`` it gives."""
        found = self.compared.forward_intermediates(pixels)
        seen = F.adaptive_avg_pool2d(pixels, self._side) * self.factor
        other = self.beside.forward_intermediates(seen, indices=self._blocks, output_fmt="NCHW")
        return {
            **found,
            "beside_intermediates": other["image_intermediates"],
            "image_features": other["image_features"],
        }


def _on_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Finer maps are averaged, coarser ones interpolated."""
    if x.shape[-1] > grid[-1]:
        return F.adaptive_avg_pool2d(x, grid)
    return x if x.shape[-2:] == grid else F.interpolate(x, size=grid, mode="bilinear", align_corners=False)


class ConvCLIP(nn.Module):
    """An image tower, and the text tower out of a CLIP of its own."""

    def __init__(self, visual: ConvTower | PairedTower, text: Any) -> None:
        super().__init__()
        del text.visual  # of no use, or a part of ours
        self.visual, self.text = visual, text

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids (n, length) -> (n, E)."""
        embeddings: Tensor = self.text.encode_text(tokens)
        return embeddings


def build_convolutional(config: Mapping[str, Any], files: Mapping[str, WeightFile]) -> ConvCLIP:
    """The encoder of a config with a ``network``, its weights loaded; the text tower is the embedded model's.

    And the embedded model's image tower where the config says ``beside``.
    """
    vision = config["vision_cfg"]
    compared = ConvTower(vision["network"], vision["stages"], vision["stride"])
    load_network(compared, files["pretrained"].located(), files["pretrained"].read())
    embedded = json.loads(files["text_config"].read().getvalue())
    text = build_model(embedded, embedded["vision_cfg"]["image_size"])
    load_weights(text, files["text"].located(), file=files["text"].read())
    if not vision.get("beside"):
        return ConvCLIP(compared, text)
    blocks, side = [layer - 1 for layer in embedded["layers"]], embedded["vision_cfg"]["image_size"]
    own, other = config["preprocess_cfg"]["std"], embedded["preprocess_cfg"]["std"]
    factor = [one / two for one, two in zip(own, other, strict=True)]
    return ConvCLIP(PairedTower(compared, text.visual, blocks, side, factor), text)


def load_network(visual: ConvTower, path: Path, file: BytesIO | None = None) -> None:
    """Load a published state dict, whose entries are timm's under other names, in timm's order.

    Raises:
        NandError: another number of entries, or another shape among them.
    """
    given = list(load_tensors(path, file).values())
    wanted = {**_prefixed("stem.", visual.stem), **_prefixed("blocks.", visual.blocks)}
    fits = len(given) >= len(wanted) and all(
        one.shape == other.shape for one, other in zip(given, wanted.values(), strict=False)
    )
    if not fits:
        raise NandError(f"{path}: not the weights of this network; install the package again")
    visual.load_state_dict(dict(zip(wanted, given, strict=False)))


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in module.state_dict().items()}
