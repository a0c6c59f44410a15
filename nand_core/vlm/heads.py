"""What a layer's patches mean: small networks from patch tokens into the space of the texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nand_core.errors import NandError
from nand_core.vlm.weights import load_tensors

HIDDEN = (384, 384)


def surroundings(tokens: Tensor, every: int = 1) -> Tensor:
    """What a head can see of a patch: averages over its 3x3 and its 9x9 neighbourhood and over the whole image.

    Zeros around the image count, as in the detectors. Patch tokens (N, h, w, C) -> (N, h, w, 3 C), in that order; of
    every n-th patch in both directions alone where ``every`` says n.
    """
    maps = tokens.movedim(-1, 1)
    near, wide = F.avg_pool2d(maps, 3, every, 1), F.avg_pool2d(maps, 9, every, 4)
    whole = maps.mean(dim=(2, 3), keepdim=True).expand_as(near)
    return torch.cat([near, wide, whole], dim=1).movedim(1, -1)


class PatchHead(nn.Module):
    """What is seen of a patch into the joint space.

    Args:
        width: how much it looks at of what :func:`surroundings` gives: C for the 3x3 neighbourhood alone, or 3 C.
        hidden: widths of the layers between.
        embed_dim: E of the joint space.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, width: int, hidden: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        widths = [width, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], embed_dim))

    def forward(self, seen: Tensor) -> Tensor:
        """(..., >= width) -> (..., E), not normalised."""
        joint: Tensor = self.layers((seen[..., : len(self.centre)] - self.centre) / self.scale)
        return joint


class Committee(nn.Module):
    """Heads of one layer that decide together: the mean of their directions."""

    def __init__(self, members: Sequence[PatchHead]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, tokens: Tensor, every: int = 1) -> Tensor:
        """Patch tokens (N, h, w, C) -> (N, h, w, E), of every n-th patch in both directions."""
        seen = surroundings(tokens, every)
        return torch.stack([F.normalize(member(seen), dim=-1) for member in self.members]).mean(dim=0)


class Centred(nn.Module):
    """A layer less what good patches of a class have in common (``nand_core.adaptation.centre``)."""

    shift: Tensor

    def __init__(self, layer: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("shift", shift)

    def forward(self, tokens: Tensor) -> Tensor:
        """Patch tokens (N, h, w, C) -> (N, h, w, E), not normalised."""
        return F.normalize(self.layer(tokens), dim=-1) - self.shift


def load_heads(path: Path, widths: Sequence[int], embed_dim: int, file: BytesIO | None = None) -> nn.ModuleList:
    """One committee a layer from safetensors, as :func:`stored` named their tensors.

    Args:
        widths: C of the layers.
        file: its bytes, where they are read already.

    Raises:
        NandError: the file holds heads of another encoder, or none.
    """
    return _committees(load_tensors(path, file), path, widths, embed_dim)


def load_adapted(path: Path, shared: nn.ModuleList | None, widths: Sequence[int], embed_dim: int) -> nn.ModuleList:
    """What a class has in place of an encoder's ``shared`` layers: heads, or these where the file has none; centred.

    Args:
        path: heads as :func:`stored` names their tensors, and the layers' shifts (E,), ``<number>.shift``; either may
            be missing.
        widths: C of the layers.

    Raises:
        NandError: the file is of another encoder; or holds no heads, where the encoder has no layers.
    """
    state = load_tensors(path)
    shifts = {name: state.pop(name) for name in list(state) if name.endswith(".shift")}
    wrong = f"{path}: not heads for this encoder"
    if state:
        layers = _committees(state, path, widths, embed_dim)
    elif shared is None:
        raise NandError(f"{wrong} (no heads in it)")
    else:
        layers = shared
    if not shifts:
        return layers
    wanted = [f"{number}.shift" for number in range(len(widths))]
    if sorted(shifts) != sorted(wanted) or any(shift.shape != (embed_dim,) for shift in shifts.values()):
        raise NandError(f"{wrong} (it has {len(widths)} layers and {embed_dim} dimensions)")
    centred = (Centred(layer, shifts[name]) for name, layer in zip(wanted, layers, strict=True))
    return nn.ModuleList(centred).eval().requires_grad_(False)


def _committees(state: Mapping[str, Tensor], path: Path, widths: Sequence[int], embed_dim: int) -> nn.ModuleList:
    committees = nn.ModuleList()
    for number, width in enumerate(widths):
        seen = [len(value) for name, value in state.items() if re.fullmatch(rf"{number}\.members\.\d+\.centre", name)]
        if not seen or not {*seen} <= {width, 3 * width}:
            raise NandError(f"{path}: not heads for this encoder (layer {number + 1}: {width} channels)")
        committees.append(Committee([PatchHead(one, HIDDEN, embed_dim) for one in seen]))
    try:
        committees.load_state_dict(state)
    except RuntimeError as error:
        raise NandError(f"{path}: not heads for this encoder ({' '.join(str(error).split())[:200]})") from error
    return committees.eval().requires_grad_(False)


def stored(layers: Sequence[Sequence[Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """The tensors of one committee a layer, from those of its members.

    float16: half of the bytes for differences that no score shows.
    """
    return {
        f"{number}.members.{place}.{name}": value.half().contiguous()
        for number, members in enumerate(layers)
        for place, member in enumerate(members)
        for name, value in member.items()
    }
