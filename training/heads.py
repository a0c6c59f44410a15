"""``python -m training.heads --export DIR --log DIR``: the head of the ImageNet encoder, trained on drawn scenes.

The network stays as it is. Of every scene the defective patches and some others are kept, and a small head learns to
bring them onto the text features that the embedded text tower gives to the drawn types. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from nand_core.drawing.lexicon import Lexicon, lexicon
from nand_core.drawing.scenes import TYPES, Scene, scene
from nand_core.errors import NandError
from nand_core.normality import text_feature
from nand_core.vlm import package
from nand_core.vlm.convnet import ConvTower, PatchHead, load_network
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config
from training.checkpoint import write_atomically
from training.losses import patch_labels
from training.targets import LOGIT_SCALE

_SEED, _VALIDATION_SEED = 50_000_000, 60_000_000
SIZE = 256
"""Side of the encoder's input in pixels."""
_LARGE = 0.7
"""A defect of k patches weighs k^(1 - 0.7), so that large areas do not drown small defects."""


@dataclass(frozen=True)
class HeadSettings:
    """How to train; the defaults are those of the shipped head.

    Attributes:
        scenes, validation: drawn to learn from and to look at.
        normal, defective: patches kept of a scene at most.
        hidden: widths of the head's layers.
        steps, batch: of the optimiser; ``batch`` patches each.
        rate: the cycle's highest learning rate.
        noise: added to the standardised features.
    """

    export: str
    log: str
    seed: int = 1
    scenes: int = 3200
    validation: int = 320
    normal: int = 60
    defective: int = 200
    hidden: tuple[int, ...] = (384, 384)
    steps: int = 1500
    batch: int = 1024
    rate: float = 4e-3
    noise: float = 0.1
    processes: int = 1


class Patches(NamedTuple):
    """Averaged features (n, C), labels (n,) - 0 normal, k for ``TYPES[k - 1]`` - and the area (n,) of their defects."""

    features: Tensor
    labels: Tensor
    areas: Tensor


def drawn(seed: int, count: int, processes: int) -> Iterator[Scene]:
    """The scenes of a seed, in order."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(scene, seed), range(count), chunksize=16)


@torch.no_grad()
def patches(tower: ConvTower, scenes: Iterator[Scene], settings: HeadSettings, count: int) -> Patches:
    """Patches of drawn scenes as the encoder sees them."""
    kept: list[Patches] = []
    generator = torch.Generator().manual_seed(settings.seed)
    for one in tqdm(scenes, total=count, desc="scenes", mininterval=10):
        picture = Image.fromarray(one.image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        tokens = tower.forward_intermediates((pixels - 0.5) / 0.5)["image_intermediates"][0]
        smooth = F.avg_pool2d(tokens, 3, 1, 1).flatten(2)[0].T
        side = round(len(smooth) ** 0.5)
        label = patch_labels(torch.from_numpy(one.labels)[None], len(TYPES), len(one.labels) // side, least=2)[0]
        area = (label > 0).sum()
        for chosen, most in ((label == 0, settings.normal), (label > 0, settings.defective)):
            found = chosen.nonzero()[:, 0]
            found = found[torch.randperm(len(found), generator=generator)[:most]]
            areas = torch.where(label[found] > 0, area, 0)
            kept.append(Patches(smooth[found].half(), label[found], areas))
    return Patches(*(torch.cat(parts) for parts in zip(*kept, strict=True)))


def text_targets(vlm: VLM, words: Lexicon) -> Tensor:
    """Unit text features (1 + types + 2, E) that patches are to be near: normal, the drawn types, abnormal, unknown."""
    rng = np.random.default_rng(0)

    def feature(label: str, count: int = 96) -> Tensor:
        said = [words.place(words.state(rng, label), str(rng.choice(words.objects)), str(rng.choice(words.templates)))
                for _ in range(count)]  # fmt: skip
        return text_feature(vlm.encode_text(said))

    return torch.stack([feature(label) for label in ("normal", *TYPES, "abnormal", "unknown")])


def loss(joint: Tensor, label: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Which type a patch is of, and whether it is abnormal at all; "unknown" is never right."""
    logits = LOGIT_SCALE * F.normalize(joint, dim=-1) @ targets.T
    kinds = torch.cat([logits[:, : len(TYPES) + 1], logits[:, -1:]], dim=1)
    which = F.cross_entropy(kinds, label, reduction="none")
    abnormal = F.binary_cross_entropy_with_logits(
        logits[:, -2] - logits[:, 0], (label > 0).float(), reduction="none"
    )
    return (weight * (which + abnormal)).mean()


def weights(found: Patches) -> Tensor:
    """Of patches: every label weighs the same, within it large defects' patches weigh less."""
    weight = torch.where(found.labels > 0, found.areas.clamp(min=1).float() ** -_LARGE, 1.0)
    for label in found.labels.unique():
        own = found.labels == label
        share = len(TYPES) / 2 if label == 0 else 1.0  # as much as half of all types together
        weight[own] *= share / weight[own].sum()
    return weight / weight.mean()


def train(found: Patches, targets: Tensor, settings: HeadSettings) -> tuple[PatchHead, pd.DataFrame]:
    """The head, and its losses every 50 steps."""
    torch.manual_seed(settings.seed)
    features = found.features.float()
    head = PatchHead(features.shape[1], settings.hidden, targets.shape[1], dropout=0.1).train()
    head.centre.copy_(features.mean(0))
    head.scale.copy_(features.std(0).clamp(min=1e-3))
    optimiser = torch.optim.AdamW(head.parameters(), lr=settings.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, settings.steps)
    generator = torch.Generator().manual_seed(settings.seed)
    weight, rows = weights(found), []
    for step in tqdm(range(1, settings.steps + 1), desc="head", mininterval=10):
        chosen = torch.randint(len(features), (settings.batch,), generator=generator)
        noise = settings.noise * head.scale * torch.randn(settings.batch, features.shape[1], generator=generator)
        value = loss(head.embed(features[chosen] + noise), found.labels[chosen], weight[chosen], targets)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        rows.append({"step": step, "loss": value.item()})
    frame = pd.DataFrame(rows)
    return head.eval(), frame.groupby((frame["step"] - 1) // 50 * 50 + 50)["loss"].mean().reset_index()


@torch.no_grad()
def figures(head: PatchHead, found: Patches, targets: Tensor) -> dict[str, float]:
    """Of patches that were not learned from: accuracy over types on defects, AUROC of abnormal against normal."""
    from sklearn.metrics import roc_auc_score

    logits = LOGIT_SCALE * F.normalize(head.embed(found.features.float()), dim=-1) @ targets.T
    defects = found.labels > 0
    kind = logits[:, 1 : len(TYPES) + 1].argmax(1) + 1
    score = (logits[:, -2] - logits[:, 0]).numpy()
    return {
        "type_accuracy": (kind == found.labels)[defects].float().mean().item(),
        "patch_auroc": float(roc_auc_score(defects.numpy(), score)),
    }


def conv_tower(vision: dict[str, Any]) -> ConvTower:
    """The encoder's image tower alone: there is no head yet."""
    path = package.weights()
    if path is None:
        raise NandError(f"training.heads: needs {package.NAME}; {package.ADVICE}")
    tower = ConvTower(vision["network"], vision["stages"], vision["stride"]).eval()
    load_network(tower, path)
    return tower


def run(settings: HeadSettings) -> None:
    """Train and write ``head.safetensors``, the losses, the figures and the digest; on one thread, to be repeatable."""
    torch.set_num_threads(1)
    config = model_config(EncoderSettings(model="efficientnet_lite0"))
    tower, targets = conv_tower(config["vision_cfg"]), text_targets(load_vlm(EncoderSettings(device="cpu")), lexicon())
    seen, unseen = (
        patches(tower, drawn(seed, count, settings.processes), settings, count)
        for seed, count in ((_SEED + settings.seed, settings.scenes), (_VALIDATION_SEED, settings.validation))
    )
    head, losses = train(seen, targets, settings)
    export, log = Path(settings.export), Path(settings.log)
    log.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in head.state_dict().items()}
    write_atomically(export / "head.safetensors", lambda path: save_file(state, path))
    losses.round(4).to_csv(log / "losses.csv", index=False)
    pd.DataFrame([figures(head, unseen, targets)]).round(4).to_csv(log / "validation.csv", index=False)
    digest = hashlib.sha256((export / "head.safetensors").read_bytes()).hexdigest()
    write_atomically(log / "sha256.txt", lambda path: path.write_text(f"{digest}  head.safetensors\n"))
    print(figures(head, unseen, targets), flush=True)


def _parse() -> HeadSettings:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(HeadSettings("", "")).items():
        if name != "hidden":
            needed = name in ("export", "log")
            parser.add_argument(f"--{name}", type=type(default), default=default, required=needed)
    return HeadSettings(**vars(parser.parse_args()))


if __name__ == "__main__":
    run(_parse())
