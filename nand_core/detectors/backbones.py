"""Image networks of their own as feature extractors: named modules, or the blocks of a transformer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from nand_core.detectors.networks import build_backbone, mean_and_std
from nand_core.detectors.settings import PatchSettings
from nand_core.errors import NandError
from nand_core.view import View
from nand_core.vlm.blocks import block_outputs, block_widths
from nand_core.vlm.pixels import standardised

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(ABC):
    """A network of its own, for images resized and cropped the way PatchCore does: ``view`` is what it sees of them."""

    def __init__(
        self,
        model: nn.Module,
        resize: int,
        crop: int | None,
        device: torch.device,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.device = device
        self.view = View(resize, "bilinear", crop)
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def preprocess(self, image: Image.Image | Tensor) -> Tensor:
        """An RGB image, or the pixels (crop, crop, 3) uint8 of its ``view`` -> (3, crop, crop) by mean and std."""
        return standardised(self.view, image, self._mean, self._std)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, S, S) -> one (N, C_l, h_l, w_l) a layer."""
        return self._layers(pixels.to(self.device))

    @abstractmethod
    def _layers(self, pixels: Tensor) -> list[Tensor]:
        """The layers' maps, of pixels on the device."""


class Modules(Backbone):
    """The outputs of named modules of a network, for images of ImageNet's mean and std.

    ``section`` is that of the settings, for messages.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        resize: int,
        crop: int | None,
        device: torch.device,
        section: str = "backbone",
    ) -> None:
        super().__init__(model, resize, crop, device)
        self._outputs: dict[str, Tensor] = {}
        for name in layers:
            try:
                module = model.get_submodule(name)
            except AttributeError:
                known = ", ".join(name for name, _ in model.named_children())
                raise NandError(
                    f"{section}.layers: the backbone has no module {name!r} (known: {known})"
                ) from None
            module.register_forward_hook(lambda _module, _inputs, output, name=name: self._keep(name, output))
        self._names = tuple(layers)

    def _keep(self, name: str, output: Tensor) -> None:
        self._outputs[name] = output

    def _layers(self, pixels: Tensor) -> list[Tensor]:
        self._outputs.clear()
        self.model(pixels)
        return [self._outputs.pop(name) for name in self._names]


class Blocks(Backbone):
    """The patch tokens after numbered blocks of a tower of timm or open_clip, as grids.

    ``section`` is that of the settings, for messages.
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: Sequence[int] | None,
        resize: int,
        crop: int | None,
        device: torch.device,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        section: str = "backbone",
    ) -> None:
        depth = _fitted_depth(model, crop or resize, section)
        numbers = blocks or quarter_ends(depth)
        if max(numbers) > depth:
            raise NandError(f"{section}.layers: {max(numbers)} asked for, the backbone has {depth} blocks")
        super().__init__(model, resize, crop, device, mean, std)
        self._indices = [number - 1 for number in numbers]

    def _layers(self, pixels: Tensor) -> list[Tensor]:
        return block_outputs(self.model, pixels, self._indices)


def load_backbone(
    settings: PatchSettings, device: torch.device, digests: Mapping[str, str] = MappingProxyType({})
) -> Backbone:
    """The network of its own that the settings name, of files with these ``digests``, if they are given.

    Raises:
        NandError: it cannot be loaded, its weights are not the ones named, or layers or sizes do not suit it.
    """
    model = build_backbone(settings, digests)
    names = [layer for layer in settings.layers or () if isinstance(layer, str)]
    numbers = [layer for layer in settings.layers or () if isinstance(layer, int)]
    sizes = settings.resize, settings.crop, device
    if settings.library == "open_clip" or is_transformer(model):
        if names:
            raise NandError(
                f"{settings.kind}.layers: {settings.backbone} is a transformer, "
                f"its layers are block numbers, not module names such as {names[0]!r}"
            )
        mean, std = mean_and_std(settings, model)
        return Blocks(model, numbers or None, *sizes, mean=mean, std=std, section=settings.kind)
    if numbers:
        raise NandError(
            f"{settings.kind}.layers: {settings.backbone} is no transformer, "
            f"its layers are module names, not block numbers such as {numbers[0]}"
        )
    return Modules(model, names or ("layer2", "layer3"), *sizes, section=settings.kind)


def is_transformer(model: nn.Module) -> bool:
    """Whether a network of timm or torchvision turns patches into tokens and has numbered blocks."""
    return all(hasattr(model, part) for part in ("patch_embed", "blocks", "forward_intermediates"))


def quarter_ends(depth: int) -> list[int]:
    """The blocks that end the second and the third quarter, 1-based: 6 and 9 of 12."""
    return sorted({max(1, depth * quarter // 4) for quarter in (2, 3)})


def _fitted_depth(model: Any, size: int, section: str) -> int:
    """Bring a tower to images of ``size`` x ``size`` pixels; its number of blocks.

    Raises:
        NandError: the size does not divide into the tower's patches, or the tower takes none but its own.
    """
    side = _patch_side(model)
    if size % side:
        near = f"{size - size % side} or {size - size % side + side}" if size > side else side
        raise NandError(
            f"{section}.crop: images of {size} pixels (crop, else resize) do not divide into the backbone's "
            f"patches of {side}; take {near}"
        )
    try:
        if hasattr(model, "set_input_size"):
            model.set_input_size((size, size))
        return len(block_widths(model, size))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise NandError(
            f"{section}.crop: the backbone takes no images of {size} pixels "
            f"({' '.join(str(error).split())[:120]}); set crop, or resize without one, to its own size"
        ) from error


def _patch_side(model: Any) -> int:
    """In pixels; 1 where a network does not say."""
    embedding = getattr(getattr(model, "trunk", model), "patch_embed", model)
    side = getattr(embedding, "patch_size", None) or 1
    return int(side if isinstance(side, int) else side[0])
