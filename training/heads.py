"""``python -m training.heads --export DIR --log DIR``: the head of the ImageNet encoder, trained on drawn scenes.

The network stays as it is. Of every scene the defective patches and some others are kept, and a small head learns to
bring them onto the text features that the embedded text tower gives to the drawn types. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from nand_core.adaptation.heads import HeadSettings, figures, train_head
from nand_core.adaptation.patches import Patches, kept_patches
from nand_core.adaptation.targets import text_targets
from nand_core.drawing.lexicon import lexicon
from nand_core.drawing.scenes import Scene, scene
from nand_core.errors import NandError
from nand_core.vlm import package
from nand_core.vlm.convnet import ConvTower, load_network
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.heads import stored
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config
from training.checkpoint import write_atomically
from training.targets import LOGIT_SCALE

_SEED, _VALIDATION_SEED = 50_000_000, 60_000_000
SIZE = 256
"""Side of the encoder's input in pixels."""


@dataclass(frozen=True)
class RunSettings:
    """A run of this training; the defaults are those of the shipped head.

    Attributes:
        export, log: folders of the head, and of its losses, figures and digest.
        scenes, validation: drawn to learn from and to look at.
        steps, batch: of the optimiser.
        processes: that draw.
    """

    export: str
    log: str
    seed: int = 1
    scenes: int = 3200
    validation: int = 320
    steps: int = 1500
    batch: int = 1024
    processes: int = 1


def drawn(seed: int, count: int, processes: int) -> Iterator[Scene]:
    """The scenes of a seed, in order."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        scenes = pool.map(partial(scene, seed), range(count), chunksize=16)
        yield from tqdm(scenes, total=count, desc="scenes", mininterval=10)


@torch.no_grad()
def encode(tower: ConvTower, scenes: Sequence[Scene]) -> Sequence[Tensor]:
    """Scenes as the encoder sees them: one layer (N, C, h, w)."""
    pictures = [Image.fromarray(one.image).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for one in scenes]
    pixels = torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures]).movedim(-1, 1).float() / 255
    return list(tower.forward_intermediates((pixels - 0.5) / 0.5)["image_intermediates"])


def conv_tower(vision: dict[str, Any]) -> ConvTower:
    """The encoder's image tower alone: there is no head yet."""
    path = package.weights()
    if path is None:
        raise NandError(f"training.heads: needs {package.NAME}; {package.ADVICE}")
    tower = ConvTower(vision["network"], vision["stages"], vision["stride"]).eval()
    load_network(tower, path)
    return tower


def patches(tower: ConvTower, seed: int, count: int, settings: RunSettings) -> Patches:
    """Of the encoder's one layer."""
    (kept,) = kept_patches(drawn(seed, count, settings.processes), partial(encode, tower), settings.seed)
    return kept


def run(settings: RunSettings) -> None:
    """Train and write ``head.safetensors``, the losses, the figures and the digest; on one thread, to be repeatable."""
    torch.set_num_threads(1)
    tower = conv_tower(model_config(EncoderSettings(model="efficientnet_lite0"))["vision_cfg"])
    targets = text_targets(load_vlm(EncoderSettings(device="cpu")), lexicon())
    seen = patches(tower, _SEED + settings.seed, settings.scenes, settings)
    unseen = patches(tower, _VALIDATION_SEED, settings.validation, settings)
    rows: list[dict[str, float]] = []
    with tqdm(total=settings.steps, desc="head", mininterval=10) as bar:

        def progress(step: int, loss: float) -> None:
            rows.append({"step": step, "loss": loss})
            bar.update()

        wanted = HeadSettings(settings.seed, settings.steps, settings.batch, near=True)
        head = train_head(seen, targets, LOGIT_SCALE, wanted, progress)
    frame = pd.DataFrame(rows)
    losses = frame.groupby((frame["step"] - 1) // 50 * 50 + 50)["loss"].mean().reset_index()
    export, log = Path(settings.export), Path(settings.log)
    log.mkdir(parents=True, exist_ok=True)
    write_atomically(export / "head.safetensors", lambda path: save_file(stored([[head.state_dict()]]), path))
    losses.round(4).to_csv(log / "losses.csv", index=False)
    pd.DataFrame([figures(head, unseen, targets)]).round(4).to_csv(log / "validation.csv", index=False)
    digest = hashlib.sha256((export / "head.safetensors").read_bytes()).hexdigest()
    write_atomically(log / "sha256.txt", lambda path: path.write_text(f"{digest}  head.safetensors\n"))
    print(figures(head, unseen, targets), flush=True)


def _parse() -> RunSettings:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(RunSettings("", "")).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, required=name in ("export", "log"))
    return RunSettings(**vars(parser.parse_args()))


if __name__ == "__main__":
    run(_parse())
