"""Image networks of timm and torchvision as feature extractors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nand_core.detectors.settings import PatchSettings
from nand_core.errors import NandError
from nand_core.vlm.files import WeightFile
from nand_core.vlm.weights import load_tensors

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone:
    """The outputs of named modules of a network, for images resized and cropped the way PatchCore does.

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
        self.model = model.to(device).eval().requires_grad_(False)
        self.device = device
        self._resize, self._crop = resize, crop or resize
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
        self._layers = tuple(layers)

    def _keep(self, name: str, output: Tensor) -> None:
        self._outputs[name] = output

    def preprocess(self, image: Image.Image) -> Tensor:
        """An RGB image -> (3, crop, crop): bilinear resize to a square, centre crop, ImageNet's mean and std."""
        image = image.convert("RGB").resize((self._resize, self._resize), Image.Resampling.BILINEAR)
        before = round((self._resize - self._crop) / 2)
        image = image.crop((before, before, before + self._crop, before + self._crop))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, S, S) -> one (N, C_l, h_l, w_l) a layer."""
        self._outputs.clear()
        self.model(pixels.to(self.device))
        return [self._outputs.pop(name) for name in self._layers]


def load_backbone(settings: PatchSettings, device: torch.device) -> Backbone:
    """The network of its own that the settings name.

    Raises:
        NandError: it cannot be loaded, or its weights are not the ones named.
    """
    backbone_digest(settings)
    model = build_backbone(settings)
    layers = [str(layer) for layer in settings.layers or ("layer2", "layer3")]
    return Backbone(model, layers, settings.resize, settings.crop, device, settings.kind)


def build_backbone(settings: PatchSettings) -> nn.Module:
    """``timm:NAME.TAG`` or ``torchvision:NAME.WEIGHTS``; the library fetches the weights unless a file is given.

    Raises:
        NandError: no such network, or its weights are not here and cannot be fetched, or do not fit.
    """
    name, weights, section = settings.backbone, settings.weights, settings.kind
    library, _, model = name.partition(":")
    try:
        if library == "timm":
            import timm

            built = timm.create_model(model, pretrained=weights is None)
        elif library == "torchvision":
            import torchvision

            architecture, _, tag = model.partition(".")
            known = torchvision.models.get_model_weights(architecture)[tag]
            built = torchvision.models.get_model(architecture, weights=known if weights is None else None)
        else:
            raise NandError(
                f"{section}.backbone: {name!r}; give encoder, timm:NAME.TAG or torchvision:NAME.WEIGHTS"
            )
    except NandError:
        raise
    except Exception as error:  # unknown names and every failing download end here
        raise NandError(
            f"{section}.backbone: {name!r} could not be loaded ({str(error).splitlines()[0][:120]}); "
            f"check the name, or set {section}.weights to the path of a downloaded file"
        ) from error
    if weights is not None:
        try:
            built.load_state_dict(load_tensors(Path(weights)))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise NandError(f"{weights}: does not fit {name} ({reason})") from error
    return built


def backbone_digest(settings: PatchSettings) -> dict[str, str]:
    """sha256 of the backbone's weights file; the library's name for them where no file is given; {} for ``encoder``."""
    if settings.backbone == "encoder":
        return {}
    if settings.weights is None:
        return {"weights": settings.backbone}
    return {"weights": backbone_file(settings).digest()}


def backbone_file(settings: PatchSettings) -> WeightFile:
    """The weights file named in the settings, else where the library keeps its own; nothing is fetched.

    Raises:
        NandError: the library has no such network or weights.
    """
    weights = settings.weights
    path = Path(weights) if weights is not None else _kept_by_library(settings)
    return WeightFile("weights", weights or settings.backbone, path, settings.sha256, section=settings.kind)


def _kept_by_library(settings: PatchSettings) -> Path | None:
    library, _, model = settings.backbone.partition(":")
    try:
        if library == "timm":
            from timm.models import get_pretrained_cfg_value

            url, repository = (get_pretrained_cfg_value(model, key) for key in ("url", "hf_hub_id"))
        else:
            import torchvision

            architecture, _, tag = model.partition(".")
            url, repository = torchvision.models.get_model_weights(architecture)[tag].url, None
    except Exception as error:  # each library has its own for a name that it does not know
        raise NandError(f"{settings.kind}.backbone: {library} knows no weights {model!r} ({error})") from error
    copies = [Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(url).name)] if url else []
    if repository:
        from huggingface_hub import try_to_load_from_cache

        found = [try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin")]
        copies += [Path(file) for file in found if isinstance(file, str)]
    return next((copy for copy in copies if copy.is_file()), None)
