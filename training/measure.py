"""Figures on fresh images: type accuracy, AUROC of abnormal patches, what normality addition does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor

from nand_core.adaptation.patches import patch_labels
from nand_core.drawing.scenes import TYPES, scene
from training.augment import normalise, to_tensor
from training.model import Tower
from training.targets import LOGIT_SCALE


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve; 0.5 for ties, nan when a class is empty."""
    positive = np.asarray(positive, bool)
    hits, misses = positive.sum(), (~positive).sum()
    if not hits or not misses:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


@dataclass(frozen=True)
class ImageSet:
    pixels: Tensor
    labels: Tensor

    @classmethod
    def drawn(
        cls,
        seed: int,
        count: int,
        names: tuple[str, ...] | None = None,
        types: tuple[str, ...] | None = None,
        normal: float = 0.15,
        difficulty: float = 1.0,
    ) -> ImageSet:
        scenes = [scene(seed, i, types, names, normal, difficulty) for i in range(count)]
        pixels = normalise(to_tensor(np.stack([s.image for s in scenes])))
        return cls(pixels, torch.from_numpy(np.stack([s.labels for s in scenes])))


@torch.no_grad()
def patch_embeddings(tower: Tower, pixels: Tensor, batch: int = 32) -> Tensor:
    """Normalised patch embeddings (layers, n, patches, dim)."""
    return torch.cat([tower(part)[0] for part in pixels.split(batch)], 1)


def patch_figures(tower: Tower, images: ImageSet, targets: Tensor) -> tuple[float, float]:
    """Type accuracy on abnormal patches, AUROC of abnormal against normal patches (mean over layers)."""
    logits = LOGIT_SCALE * patch_embeddings(tower, images.pixels) @ targets.T
    label = patch_labels(images.labels, len(TYPES))
    kind = logits[..., 1:-1].softmax(-1).mean(0).argmax(-1) + 1
    score = torch.sigmoid(logits[..., -1] - logits[..., 0]).mean(0)
    known, abnormal = label >= 0, label > 0
    accuracy = (kind == label)[abnormal].float().mean()
    return float(accuracy), auroc(score[known].numpy(), abnormal[known].numpy())


def anomaly_maps(embeddings: Tensor, text: Tensor, reference: Tensor) -> Tensor:
    """Mean over layers of the softmax probability of ``text`` against ``reference`` (n, grid, grid)."""
    z = LOGIT_SCALE * (embeddings @ text - embeddings @ reference)
    side = int(z.shape[-1] ** 0.5)
    return torch.sigmoid(z).mean(0).unflatten(-1, (side, side))


def normality_gain(
    embeddings: dict[str, Tensor], good: Tensor, features: dict[str, Tensor], dilation: int = 9
) -> dict[str, tuple[float, float, float]]:
    """AUROC of the image score (%) before and after adding each type as normal (arXiv 2407.19849), and after
    it with a suppression map dilated by ``dilation`` of 64 pixels.

    Args:
        embeddings: of images with one defect each, by type.
        good: embeddings of images without a defect.
        features: text features by type, and of ``normal`` and ``abnormal``.
    """
    everything = {"good": good, **embeddings}
    base = {name: _maps(e, features["abnormal"], features["normal"]) for name, e in everything.items()}
    out = {}
    for added in embeddings:
        scores: list[list[Tensor]] = [[], [], []]
        positive = []
        for name, e in everything.items():
            suppression = _maps(e, features[added], features["normal"])
            wide = F.max_pool2d(suppression[:, None], dilation, 1, dilation // 2)[:, 0]
            for column, factor in zip(scores, (0, suppression, wide), strict=True):
                column.append((base[name] * (1 - factor)).amax((1, 2)))
            positive.append(np.full(len(e[0]), name not in ("good", added)))
        truth = np.concatenate(positive)
        out[added] = tuple(100 * auroc(torch.cat(column).numpy(), truth) for column in scores)
    return out


def _maps(embeddings: Tensor, text: Tensor, reference: Tensor) -> Tensor:
    maps = anomaly_maps(embeddings, text, reference)[:, None]
    return F.interpolate(maps, size=(64, 64), mode="bilinear", align_corners=True)[:, 0]
