"""Expected outputs of the published programs, and the tiny models that they were run on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nand_core.vlm.encoder import VLM, EncoderSettings, ImageFeatures, load_vlm

# The tensors are tiny: with more threads each operation waits for the others to wake up.
torch.set_num_threads(1)

ORACLE = Path(os.environ.get("NAND_ORACLE") or Path(__file__).parent / "data" / "oracle")


def tensors(name: str) -> dict[str, torch.Tensor]:
    with np.load(ORACLE / name) as data:
        return {key: torch.from_numpy(data[key]) for key in data.files}


def prompts(name: str) -> dict[str, list[str]]:
    return json.loads((ORACLE / name).read_text(encoding="utf-8"))


def tiny_settings(
    size: int, quick_gelu: bool = False, folder: Path | None = None, **changes
) -> EncoderSettings:
    model = ORACLE / "clip_tiny.json"
    if quick_gelu:
        config = json.loads(model.read_text(encoding="utf-8")) | {"quick_gelu": True}
        model = folder / "clip_tiny_quickgelu.json"
        model.write_text(json.dumps(config), encoding="utf-8")
    settings = {
        "model": str(model),
        "pretrained": str(ORACLE / "clip_tiny.pt"),
        "linear_layers": str(ORACLE / "april_linear_tiny.pt"),
        "image_size": size,
        "device": "cpu",
    }
    return EncoderSettings(**settings | changes)


def tiny_vlm(size: int, **changes) -> VLM:
    return load_vlm(tiny_settings(size, **changes))


def images(*names: str) -> list[Image.Image]:
    with np.load(ORACLE / "inputs.npz") as data:
        return [Image.fromarray(data[name]) for name in names]


class Batch:
    """An ImageBatch of images in memory."""

    def __init__(
        self, pictures: list[Image.Image], ids: list[str] | None = None, vlm: VLM | None = None
    ) -> None:
        self.ids = ids or [f"image{i}.png" for i in range(len(pictures))]
        self._pictures = pictures
        self._vlm = vlm

    def images(self) -> list[Image.Image]:
        return self._pictures

    def features(self) -> ImageFeatures:
        return self._vlm.encode_images(torch.stack([self._vlm.preprocess(p) for p in self._pictures]))
