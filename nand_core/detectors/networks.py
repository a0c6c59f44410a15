"""Image networks of timm, torchvision and open_clip, and the files of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from nand_core.detectors.settings import PatchSettings
from nand_core.errors import NandError, nearest
from nand_core.vlm.files import WeightFile
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config, weight_files
from nand_core.vlm.weights import load_tensors


def build_backbone(settings: PatchSettings, digests: Mapping[str, str] = MappingProxyType({})) -> nn.Module:
    """The network that the settings name, with its weights; the library fetches them unless a file is given.

    That file is still the one of ``digests`` (:func:`backbone_digest`), if they are given.

    Of ``open_clip:`` it is the image tower, its position embeddings at the size of the images after the crop.

    Raises:
        NandError: no such network, or its weights are not here and cannot be fetched, or do not fit.
    """
    name, weights, section = settings.backbone, settings.weights, settings.kind
    file = None if weights is None else replace(backbone_file(settings), hashed=digests.get("weights")).read()
    library, model = settings.library, settings.network
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
            return _image_tower(settings, file)
    except NandError:
        raise
    except Exception as error:  # unknown names and every failing download end here
        raise NandError(
            f"{section}.backbone: {name!r} could not be loaded ({str(error).splitlines()[0][:120]}); "
            f"check the name, or set {section}.weights to the path of a downloaded file"
        ) from error
    if weights is not None:
        try:
            built.load_state_dict(load_tensors(Path(weights), file))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise NandError(f"{weights}: does not fit {name} ({reason})") from error
    return built


def mean_and_std(settings: PatchSettings, network: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Of the colours (red, green, blue) in [0, 1] that a network of timm or open_clip was trained with."""
    if settings.library == "timm":
        known = network.pretrained_cfg
    else:
        import open_clip

        known = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
        known |= model_config(_open_clip(settings)).get("preprocess_cfg") or {}
    return known["mean"], known["std"]


def _image_tower(settings: PatchSettings, file: BytesIO | None) -> nn.Module:
    """open_clip's, built and loaded as the shared encoder is."""
    import open_clip

    from nand_core.vlm.build import build_model, load_weights

    encoder, section = _open_clip(settings), settings.kind
    model = build_model(model_config(encoder), settings.crop or settings.resize)
    if settings.weights is None:
        path = open_clip.download_pretrained(open_clip.get_pretrained_cfg(encoder.model, encoder.pretrained))
    else:
        path = settings.weights
    load_weights(model, Path(path), f"{section}.backbone", file)
    visual: nn.Module = model.visual
    return visual


def _open_clip(settings: PatchSettings) -> EncoderSettings:
    """``open_clip:NAME.TAG`` as settings of an encoder.

    Raises:
        NandError: open_clip does not know the name, or, where no file is given, the tag.
    """
    import open_clip

    model, _, tag = settings.network.partition(".")
    section, known = settings.kind, open_clip.list_models()
    if model not in known:
        raise NandError(f"{section}.backbone: open_clip knows no model {model!r}{nearest(model, known)}")
    if settings.weights is None and not open_clip.get_pretrained_cfg(model, tag):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise NandError(f"{section}.backbone: open_clip knows no weights {tag!r} of {model} (it has: {tags})")
    return EncoderSettings(model=model, pretrained=tag or settings.weights)


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
    library, model = settings.library, settings.network
    if library == "open_clip":
        return next(file.path for file in weight_files(_open_clip(settings)) if file.key == "pretrained")
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
