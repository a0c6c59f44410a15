"""Writes the embedded model and checks that plain open_clip computes what training computed."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from nand_core.vlm.words import WordTokenizer
from training.checkpoint import write_atomically
from training.model import Tower, build_clip

FILES = ("config.json", "vocabulary.txt", "model.safetensors", "linear.safetensors")


def export(folder: Path, config: dict, model: open_clip.CLIP, tower: Tower, vocabulary: list[str]) -> None:
    """Write config, vocabulary, weights (float16) and linear layers (float32) to ``folder``, each atomically.

    Raises:
        AssertionError: the files do not load strictly, or give other outputs than the training code.
    """
    weights = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    linear = {
        f"fc.{i}.{name}": value.detach().float().contiguous()
        for i, fc in enumerate(tower.fc)
        for name, value in fc.state_dict().items()
    }
    writers = (
        lambda p: p.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8"),
        lambda p: p.write_text("\n".join(vocabulary) + "\n", encoding="utf-8"),
        lambda p: save_file(weights, p),
        lambda p: save_file(linear, p),
    )
    for name, write in zip(FILES, writers, strict=True):
        write_atomically(folder / name, write)
    check(folder)


@torch.no_grad()
def check(folder: Path) -> None:
    """Load the exported files into open_clip and compare its outputs with the training code's."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = build_clip(config).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    tower = Tower(model.visual)
    linear = load_file(folder / "linear.safetensors")
    tower.fc.load_state_dict({name.removeprefix("fc."): value for name, value in linear.items()}, strict=True)
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 4 - 2
    patches, image, _ = tower(images)
    indices = [layer - 1 for layer in config["layers"]]
    out = model.visual.forward_intermediates(images, indices=indices, output_fmt="NCHW")
    for i, tokens in enumerate(out["image_intermediates"]):
        weight, bias = linear[f"fc.{i}.weight"], linear[f"fc.{i}.bias"]
        ours = F.normalize(F.linear(tokens.flatten(2).transpose(1, 2), weight, bias), dim=-1)
        assert torch.allclose(ours, patches[i], atol=1e-4), f"layer {indices[i] + 1} differs"
    assert torch.allclose(model.encode_image(images), image, atol=1e-3), "image embedding differs"
    tokenizer = WordTokenizer.load(folder / config["tokenizer"], config["text_cfg"]["context_length"])
    assert tokenizer.vocab_size == config["text_cfg"]["vocab_size"], "vocabulary and config differ"
    text = model.encode_text(tokenizer(["a photo of a flawless carpet.", "loose thread on the carpet"]))
    assert torch.isfinite(text).all()
