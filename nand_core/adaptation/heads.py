"""The training of a head on kept patches; minutes on a CPU, the same result whatever the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nand_core.adaptation.patches import Patches
from nand_core.drawing.scenes import TYPES
from nand_core.vlm.heads import HIDDEN, PatchHead

_LARGE = 0.7
"""A defect of k patches weighs k^(1 - 0.7), so that large areas do not drown small defects."""


@dataclass(frozen=True)
class HeadSettings:
    """How a head is trained; the defaults are those of the shipped one.

    Attributes:
        steps, batch: of the optimiser; ``batch`` patches each.
        rate: the cycle's highest learning rate.
        noise: added to the standardised features.
        dropout: share of the inner features left out at a step.
        near: look at the 3x3 neighbourhood alone.
    """

    seed: int = 1
    steps: int = 1500
    batch: int = 1024
    rate: float = 4e-3
    noise: float = 0.1
    dropout: float = 0.1
    near: bool = False


def train_head(
    found: Patches,
    targets: Tensor,
    scale: float,
    settings: HeadSettings,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> PatchHead:
    """A head that brings patches near the text features of what they show.

    Args:
        found: at least one patch of any label.
        targets: (K, E), see ``nand_core.adaptation.targets``.
        scale: factor on cosines, the encoder's.
        progress: told each step's number, from 1, and its loss.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    width = found.features.shape[1] // (3 if settings.near else 1)
    features, labels, weight = found.features[:, :width], found.labels, weights(found)
    head = _new_head(features, targets.shape[1], generator)
    optimiser = torch.optim.AdamW(head.parameters(), lr=settings.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, settings.steps)
    for step in range(1, settings.steps + 1):
        chosen = torch.randint(len(features), (settings.batch,), generator=generator)
        value = loss(_with_noise(head, features[chosen].float(), settings, generator), labels[chosen],
                     weight[chosen], targets, scale)  # fmt: skip
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        progress(step, value.item())
    return head.eval()


def _new_head(features: Tensor, embed_dim: int, generator: torch.Generator) -> PatchHead:
    """Its weights drawn by ``generator`` alone: torch's own is the process's, and several heads are trained in one."""
    head = PatchHead(features.shape[1], HIDDEN, embed_dim)
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    total, squares = torch.zeros(2, features.shape[1], dtype=torch.float64)
    for part in torch.split(features, 1 << 15):
        total += part.double().sum(0)
        squares += part.double().square().sum(0)
    mean = total / len(features)
    head.centre.copy_(mean)
    head.scale.copy_((squares / len(features) - mean.square()).clamp(min=0).sqrt().clamp(min=1e-3))
    return head


def _with_noise(head: PatchHead, seen: Tensor, settings: HeadSettings, generator: torch.Generator) -> Tensor:
    """The head's answer to noisy features, with parts of it left out: what it must not depend on."""
    x = (seen - head.centre) / head.scale
    x = x + settings.noise * torch.randn(x.shape, generator=generator)
    for layer in head.layers:
        x = layer(x)
        if isinstance(layer, nn.GELU):
            x = x * (torch.rand(x.shape, generator=generator) >= settings.dropout) / (1 - settings.dropout)
    return x


def loss(joint: Tensor, label: Tensor, weight: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Which type a patch is of, and whether it is abnormal at all; "unknown" is never right."""
    logits = scale * F.normalize(joint, dim=-1) @ targets.T
    kinds = torch.cat([logits[:, : len(TYPES) + 1], logits[:, -1:]], dim=1)
    which = F.cross_entropy(kinds, label, reduction="none")
    abnormal = F.binary_cross_entropy_with_logits(
        logits[:, -2] - logits[:, 0], (label > 0).float(), reduction="none"
    )
    return (weight * (which + abnormal)).mean()


def weights(found: Patches) -> Tensor:
    """Of patches: every label weighs the same, within it large defects' patches weigh less."""
    weight = torch.where(found.labels > 0, found.areas.clamp(min=1).float() ** -_LARGE, 1.0)
    for label in torch.unique(found.labels):
        own = found.labels == label
        share = len(TYPES) / 2 if label == 0 else 1.0  # as much as half of all types together
        weight[own] *= share / weight[own].sum()
    return weight / weight.mean()


@torch.no_grad()
def figures(head: PatchHead, found: Patches, targets: Tensor) -> dict[str, float]:
    """Of patches that were not learned from: accuracy over types on defects, AUROC of abnormal against normal."""
    from sklearn.metrics import roc_auc_score

    cosines = F.normalize(head(found.features.float()), dim=-1) @ targets.T
    defects = found.labels > 0
    kind = cosines[:, 1 : len(TYPES) + 1].argmax(1) + 1
    score = (cosines[:, -2] - cosines[:, 0]).numpy()
    return {
        "type_accuracy": (kind == found.labels)[defects].float().mean().item(),
        "patch_auroc": float(roc_auc_score(defects.numpy(), score)),
    }
