"""open_clip models and linear layers from configs and weight files."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from torch import nn

from nand_core.errors import NandError
from nand_core.vlm.weights import load_tensors

Model: TypeAlias = open_clip.CLIP | open_clip.CustomTextCLIP
"""Any to a type checker: open_clip has no types."""


def build_model(config: dict[str, Any], size: int) -> Model:
    """The open_clip model of a config at an image size, its weights not loaded yet."""
    keys = ("embed_dim", "quick_gelu", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale")
    arguments = {key: config[key] for key in keys if key in config}
    # Towers of timm and transformers must not fetch weights of their own: ours follow.
    arguments["vision_cfg"] = config["vision_cfg"] | {"image_size": size, "timm_model_pretrained": False}
    arguments["text_cfg"] = config["text_cfg"] | {"hf_model_pretrained": False}
    custom = config.get("custom_text") or "hf_model_name" in config["text_cfg"]
    try:
        model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**arguments)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise NandError(f"encoder.model: open_clip cannot build this config ({error})") from error
    if hasattr(model.visual, "set_input_size"):
        model.visual.set_input_size(size)
    return model


def load_weights(
    model: Model, path: Path, setting: str = "encoder.model", file: BytesIO | None = None
) -> None:
    """Load a CLIP state dict, its position embeddings resized (bicubic, antialiased) to the model's grid.

    ``setting`` names the architecture, for messages; ``file`` is what was read by the name ``path``, if anything was.
    """
    state = convert_state_dict(model, load_tensors(path, file))
    # Keys that scripted or older checkpoints carry beside the weights.
    for extra in ("input_resolution", "context_length", "vocab_size"):
        state.pop(extra, None)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    try:
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise NandError(
            f"{path}: does not fit the model; set {setting} to its architecture ({reason})"
        ) from error


def load_linear(
    path: Path, widths: Sequence[int], embed_dim: int, file: BytesIO | None = None
) -> nn.ModuleList:
    """The linear layers of an APRIL-GAN checkpoint (``fc.i.weight``, ``fc.i.bias``), one a chosen block."""
    state = load_tensors(path, file)
    count = sum(name.endswith(".weight") for name in state)
    if count != len(widths):
        raise NandError(
            f"{path}: holds {count} linear layers for {len(widths)} chosen blocks; adapt encoder.layers"
        )
    linear = nn.ModuleList(nn.Linear(width, embed_dim) for width in widths)
    try:
        linear.load_state_dict({name.removeprefix("fc."): value for name, value in state.items()})
    except RuntimeError as error:
        shapes = sorted({f"{v.shape[1]} -> {v.shape[0]}" for v in state.values() if v.ndim == 2})
        wanted = sorted({f"{width} -> {embed_dim}" for width in widths})
        raise NandError(
            f"{path}: linear layers {', '.join(shapes) or 'of no known shape'} do not fit this encoder "
            f"({', '.join(wanted)}); use the checkpoint trained for it"
        ) from error
    return linear
