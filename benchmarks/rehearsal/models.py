"""Small seeded stand-ins for the published weights, in the layouts of the published files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
import torchvision
from safetensors.torch import save_file

from nand_core.config import Params
from nand_core.errors import NandError
from nand_core.vlm.build import build_model
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config

EMBED, WIDTH = 32, 64
IMAGE_SIZE = 224  # of the shared encoder: another grid than its weights have, as in the paper's setting
RESIZE, CROP = 64, 56
FOLDER = Path("weights")


def small_settings(params: Params, folder: Path) -> dict[str, Any]:
    """Write stand-ins into ``folder`` and return the settings with their paths and sizes, all else as it was.

    Raises:
        NandError: the settings name a model or weights that the libraries do not know.
    """
    values = params.model_dump(mode="json", exclude_unset=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        values["encoder"] |= _clip(params.encoder, folder) | {"image_size": IMAGE_SIZE}
        _linear_layers(params.encoder, folder)
        for name, settings in params.detectors.items():
            own = values["detectors"][name]
            if isinstance(getattr(settings, "encoder", None), EncoderSettings):
                own["encoder"] |= _clip(settings.encoder, folder)
            elif settings.kind == "patchcore":
                own |= {"weights": _backbone(settings.backbone, folder), "resize": RESIZE, "crop": CROP}
    return values


def _clip(settings: EncoderSettings, folder: Path) -> dict[str, str]:
    """An open_clip model of the same depth and grid, narrower."""
    name, tag = settings.model, settings.pretrained
    config = model_config(settings)
    if not open_clip.get_pretrained_cfg(name, tag):
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise NandError(f"open_clip has no weights {tag!r} of {name} (known: {known})")
    config["embed_dim"] = EMBED
    config["vision_cfg"] |= {"width": WIDTH, "head_width": WIDTH // 4}
    config["text_cfg"] |= {"width": EMBED, "heads": 2, "layers": 2}
    path, weights = FOLDER / f"{name}.json", FOLDER / f"{name}.{tag}.safetensors"
    if not (folder / path).exists():
        _place(folder / path).write_text(json.dumps(config, indent=2))
        save_file(build_model(config, config["vision_cfg"]["image_size"]).state_dict(), folder / weights)
    return {"model": path.as_posix(), "pretrained": weights.as_posix()}


def _linear_layers(settings: EncoderSettings, folder: Path) -> None:
    """An APRIL-GAN checkpoint where the settings look for it."""
    state = {}
    for i in range(len(settings.layers)):
        layer = torch.nn.Linear(WIDTH, EMBED)
        state |= {f"fc.{i}.weight": layer.weight.data, f"fc.{i}.bias": layer.bias.data}
    torch.save({"trainable_linearlayer": state}, _place(folder / settings.linear_layers))


def _backbone(name: str, folder: Path) -> str:
    """torchvision's network in full size: its images are small instead."""
    architecture = name.removeprefix("torchvision:").partition(".")[0]
    path = FOLDER / f"{architecture}.pth"
    state = torchvision.models.get_model(architecture, weights=None).state_dict()
    torch.save({key: value.half() if value.ndim > 1 else value for key, value in state.items()}, _place(folder / path))
    return path.as_posix()


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
