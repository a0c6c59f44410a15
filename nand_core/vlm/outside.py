"""The files of an encoder that lie at a path. No model is loaded, and open_clip is not imported."""

from __future__ import annotations

import json
from pathlib import Path

from nand_core.vlm import package
from nand_core.vlm.settings import EMBEDDED, HEADS, SHIPPED, EncoderSettings


def encoder_files(settings: EncoderSettings) -> dict[str, Path]:
    """The files of an encoder that lie at a path, by a name that is the same on every machine.

    Weights that open_clip keeps under a tag are not among them: what a tag stands for does not change.
    """
    named = [settings.model, settings.pretrained, settings.linear_layers]
    files = {name: Path(name) for name in named if name and Path(name).is_file()}
    shipped = SHIPPED.get(settings.model)
    if shipped is not None:
        own = [shipped / "config.json", HEADS[settings.model], *EMBEDDED.glob("model.safetensors")]
        own += [] if shipped == EMBEDDED else [EMBEDDED / "config.json"]
        files |= {f"{path.parent.name}/{path.name}": path for path in own}
        weights = package.weights() if shipped != EMBEDDED else None
        files |= {package.NAME: weights} if weights else {}
    config = settings.config_path
    if config is not None and (vocabulary := _vocabulary(config)):
        files[f"{config.parent.name}/{vocabulary.name}"] = vocabulary
    return files


def _vocabulary(config: Path) -> Path | None:
    try:
        name = json.loads(config.read_text(encoding="utf-8")).get("tokenizer")
    except (OSError, ValueError, AttributeError):  # the stage that needs it says so
        return None
    return config.parent / name if name and (config.parent / name).is_file() else None
