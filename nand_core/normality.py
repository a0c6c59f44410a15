"""Normality detection and suppression (Eqs. 3, 4 and 6): pure functions on tensors.

An anomaly map of APRIL-GAN and the suppression map of a normality are the same computation asked about
different texts: tokens of each layer -> linear layer -> cosine to the texts -> probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nand_core.settings import MAP_SIZE, Combine, SuppressionSettings


def text_feature(embeddings: Tensor) -> Tensor:
    """Eq. 3: (n, E) sentence embeddings -> (E,), the unit mean of the unit embeddings."""
    return F.normalize(F.normalize(embeddings, dim=-1).mean(dim=0), dim=-1)


def layer_logits(
    features: Sequence[Tensor], linear: Sequence[nn.Module], text: Tensor, scale: float
) -> list[Tensor]:
    """Scaled cosine of every patch token to every text.

    Args:
        features: one (N, C_l, h_l, w_l) a layer.
        linear: one layer C_l -> E each.
        text: (K, E) unit text features.
        scale: the inverse softmax temperature.

    Returns:
        One (N, K, h_l, w_l) float32 a layer.
    """
    logits = []
    for tokens, project in zip(features, linear, strict=True):
        joint = F.normalize(project(tokens.movedim(1, -1)), dim=-1)
        # Each text's logits together: up-sampling few texts that lie interleaved takes four times as long.
        logits.append((scale * joint @ text.T).movedim(-1, 1).contiguous())
    return logits


def layer_probabilities(logits: Sequence[Tensor], size: int) -> list[Tensor]:
    """Up-sample logits (bilinear, corners aligned) and take the softmax over the texts.

    Returns:
        One (N, K, size, size) a layer.
    """
    # A layer at a time: its probabilities of one image fit into a processor's cache, those of all do not.
    return [
        F.interpolate(x, size=(size, size), mode="bilinear", align_corners=True).softmax(dim=1) for x in logits
    ]


def combine(layers: Iterable[Tensor], how: Combine) -> Tensor:
    """Maps (N, H, W) of L layers -> (N, H, W): the layers' mean, sum (up to L) or maximum."""
    maps = torch.stack(list(layers))
    return maps.amax(dim=0) if how == "max" else getattr(maps, how)(dim=0)


def text_map(
    features: Sequence[Tensor],
    linear: Sequence[nn.Module],
    text: Tensor,
    scale: float,
    how: Combine,
    size: int,
) -> Tensor:
    """Eq. 4: the probability of the *first* of the texts (K, E) at every position, (N, size, size)."""
    probabilities = layer_probabilities(layer_logits(features, linear, text, scale), size)
    return combine((layer[:, 0] for layer in probabilities), how)


def suppression_map(
    features: Sequence[Tensor],
    linear: Sequence[nn.Module],
    f_add: Tensor,
    f_nor: Tensor,
    scale: float,
    settings: SuppressionSettings,
    others: Tensor | None = None,
) -> Tensor:
    """Where the normality described by ``f_add`` (E,) is seen, rather than plain normality ``f_nor`` (E,).

    A dilated map reaches over its neighbourhood, but not over what ``others`` claim there: it is multiplied by
    1 - their probability.

    Args:
        others: (M, E) text features of the class's other known groups; used if ``settings.competing``.

    Returns:
        (N, 256, 256) float32 in [0, 1].
    """
    text = torch.stack([f_add, f_nor])
    if settings.competing and others is not None:
        text = torch.cat([text, others])
    asked = slice(-settings.deepest if settings.deepest else None, None)
    logits = layer_logits(features[asked], linear[asked], text, scale / settings.temperature)
    if settings.prior != 1:
        shift = torch.zeros(len(text), device=text.device)
        shift[1] = math.log(settings.prior)
        logits = [layer + shift[:, None, None] for layer in logits]
    # An image at a time: its probabilities fit into a processor's cache, those of a batch do not.
    images = range(len(logits[0]))
    return torch.cat([_first([layer[i : i + 1] for layer in logits], settings) for i in images])


def _first(logits: Sequence[Tensor], settings: SuppressionSettings) -> Tensor:
    """Where the first of the texts is seen, dilated, and left out what the third and later ones claim."""
    probabilities = layer_probabilities(logits, MAP_SIZE)
    found = combine((layer[:, 0] for layer in probabilities), settings.combine).clamp(0, 1)
    if settings.dilation:
        claimed = combine((layer[:, 2:].sum(dim=1) for layer in probabilities), settings.combine).clamp(0, 1)
        found = dilate(found, settings.dilation) * (1 - claimed)
    return found


def dilate(maps: Tensor, side: int) -> Tensor:
    """The maximum of (N, H, W) maps over squares of ``side`` (odd) pixels."""
    # A square's maximum is that of its columns' maxima.
    return _window_maximum(_window_maximum(maps, side, dim=1), side, dim=2)


def _window_maximum(maps: Tensor, side: int, dim: int) -> Tensor:
    """Over windows of ``side`` centred on every position of ``dim``, in about log2(side) steps."""
    edge = side // 2
    length = maps.shape[dim]
    padding = [0, 0] * (maps.ndim - 1 - dim) + [edge, edge]
    found, covered = F.pad(maps, padding, value=-math.inf), 1
    while covered < side:
        # Two windows that overlap or touch: the next one is as long as both together, at most ``side``.
        step = min(covered, side - covered)
        left = found.narrow(dim, 0, found.shape[dim] - step)
        found, covered = torch.maximum(left, found.narrow(dim, step, found.shape[dim] - step)), covered + step
    return found.narrow(dim, 0, length)


def distinct(f_add: Tensor, f_nor: Tensor, known: Tensor) -> Tensor:
    """Which of ``known`` (M, E), (M,) bool, a text ``f_add`` (E,) from outside these groups has to compete with.

    A text that says the same as a known group would lose half of the softmax to it. A group says the same if
    its cosine to ``f_add`` is nearer to 1 than to the largest among ``known`` and ``f_nor``, which have
    different meanings: a limit in the units of the text tower, whose cosines may all lie high.
    """
    if not len(known):
        return torch.zeros(0, dtype=torch.bool)
    texts = torch.cat([known, f_nor[None]])
    cosines = (texts @ texts.T).fill_diagonal_(-1)
    return known @ f_add <= (1 + cosines.max()) / 2


def suppress(anomaly: Tensor, suppression: Tensor, alpha: float = 1.0) -> Tensor:
    """Eq. 6: A * (1 - alpha * A_sup); alpha = 0 gives ``anomaly`` back bit for bit."""
    return anomaly * (1 - alpha * suppression)


def union(suppressions: Sequence[Tensor]) -> Tensor:
    """1 - prod(1 - A_sup): several normalities in turn. One map comes back as it is; the order has no effect."""
    if len(suppressions) == 1:
        return suppressions[0]
    # Sorting per position makes the rounding independent of the order too.
    found, *rest = torch.stack(list(suppressions)).sort(dim=0).values.unbind()
    for other in rest:
        found = found + other * (1 - found)
    return found


def image_score(anomaly: Tensor) -> Tensor:
    """(N, H, W) -> (N,): the maximum of the map."""
    return anomaly.amax(dim=(-2, -1))


def resize_maps(maps: Tensor, size: int = MAP_SIZE) -> Tensor:
    """(N, H, W) maps of the whole image -> (N, size, size), bilinear; unchanged if they have that size."""
    if maps.shape[-2:] == (size, size):
        return maps
    return F.interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
