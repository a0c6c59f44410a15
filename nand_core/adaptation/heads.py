"""The training of a head on kept patches; minutes on a CPU, the same result whatever the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """

    seed: int = 1
    steps: int = 1500
    batch: int = 1024
    rate: float = 4e-3
    noise: float = 0.1


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        head = PatchHead(found.features.shape[1], HIDDEN, targets.shape[1], dropout=0.1).train()
        known = found.labels >= 0
        features, labels, weight = found.features[known].float(), found.labels[known], weights(found)[known]
        head.centre.copy_(features.mean(0))
        head.scale.copy_(features.std(0).clamp(min=1e-3))
        optimiser = torch.optim.AdamW(head.parameters(), lr=settings.rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, settings.steps)
        for step in range(1, settings.steps + 1):
            chosen = torch.randint(len(features), (settings.batch,), generator=generator)
            noise = settings.noise * head.scale * torch.randn(settings.batch, features.shape[1], generator=generator)
            value = loss(head.embed(features[chosen] + noise), labels[chosen], weight[chosen], targets, scale)
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            progress(step, value.item())
    return head.eval()


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

    cosines = F.normalize(head.embed(found.features.float()), dim=-1) @ targets.T
    defects = found.labels > 0
    kind = cosines[:, 1 : len(TYPES) + 1].argmax(1) + 1
    score = (cosines[:, -2] - cosines[:, 0]).numpy()
    return {
        "type_accuracy": (kind == found.labels)[defects].float().mean().item(),
        "patch_auroc": float(roc_auc_score(defects.numpy(), score)),
    }
