"""Distance of each patch to the principal subspace of the good patches (SubspaceAD, arXiv 2602.23013)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from nand_core.detectors.base import Context, ImageBatch, check_state
from nand_core.detectors.patch_features import PatchFeatures, image_maps
from nand_core.detectors.patches import joined_patches
from nand_core.detectors.settings import SubspaceSettings
from nand_core.errors import NandError
from nand_core.view import View


@dataclass(frozen=True)
class Moments:
    """First and second moments of points in C dimensions.

    Attributes:
        count: number of points.
        mean: (C,) float64.
        scatter: (C, C) float64, the sum over the points of the outer products of their differences from the mean.
    """

    count: int
    mean: Tensor
    scatter: Tensor


def moments(points: Tensor) -> Moments:
    """Those of the points (n, C), n > 0."""
    points = points.double()
    mean = points.mean(dim=0)
    centred = points - mean
    return Moments(len(points), mean, centred.T @ centred)


def merged(one: Moments, other: Moments) -> Moments:
    """Those of both sets of points together (Chan, Golub, LeVeque 1979).

    Only differences between means are squared, so a common offset of all points costs no digits.
    """
    count = one.count + other.count
    step = other.mean - one.mean
    between = torch.outer(step, step) * (one.count * other.count / count)
    return Moments(count, one.mean + step * (other.count / count), one.scatter + other.scatter + between)


def principal_components(points: Moments, variance: float) -> Tensor:
    """The fewest principal axes that hold the share ``variance`` of the points' variance.

    Returns:
        (k, C) float64 orthonormal, the largest variance first, the entry of largest magnitude of each positive;
        k = 0 where the points are equal up to the rounding of float32.
    """
    values, vectors = torch.linalg.eigh(points.scatter)
    axes: Tensor = vectors.T.flip(0)
    held = values.flip(0).clamp(min=0).cumsum(0)
    rounding = torch.finfo(torch.float32).eps * points.mean.norm()
    if held[-1] <= points.count * rounding**2:
        return axes[:0]
    axes = axes[: int((held < variance * held[-1]).sum()) + 1]
    return axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()


def residual_norms(points: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    """(n,) >= 0: L2 distances of the points (n, C) to the subspace of ``components`` (k, C) through ``mean`` (C,).

    The residual itself is measured: a difference of squares would leave only rounding near the subspace.
    """
    centred = points - mean
    distances: Tensor = (centred - (centred @ components.T) @ components).norm(dim=1)
    return distances


class Subspace:
    """The principal subspace of the good patches; a patch's score is its distance to it."""

    trained = True

    def __init__(self, settings: SubspaceSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._features = PatchFeatures(settings, context)
        self.needs = self._features.needs
        self._subspace: tuple[Tensor, Tensor] | None = None

    def fit(self, good: Iterable[ImageBatch]) -> None:
        """Find the subspace. Memory does not grow with the number of images, and their order has no say.

        Raises:
            NandError: there is no good image, or a feature is not finite.
        """
        parts = (moments(image.flatten(0, 1)) for batch in good for image in self.embed(self._features(batch)))
        first = next(parts, None)
        if first is None:
            raise NandError(f"subspace: no good image of class {self._context.class_name!r}; add training images")
        patches = reduce(merged, parts, first)
        if not patches.scatter.isfinite().all():
            raise NandError(
                f"subspace: features of the good images of class {self._context.class_name!r} are not finite; "
                "check the weights"
            )
        components = principal_components(patches, self._settings.variance)
        self._subspace = patches.mean.float(), components.float()

    def state(self) -> dict[str, Tensor]:
        """``mean`` (C,) and ``components`` (k, C), float32."""
        mean, components = self._fitted()
        return {"mean": mean.cpu(), "components": components.cpu()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take a stored subspace.

        Raises:
            NandError: it is none.
        """
        width = len(state["mean"]) if "mean" in state and state["mean"].ndim else None
        check_state(state, {"mean": (None,), "components": (None, width)})
        device = self._features.device
        self._subspace = state["mean"].float().to(device), state["components"].float().to(device)

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, S, S) float32, S = 256 for the shared encoder, else ``resize``."""
        embedding = self.embed(self._features(batch))
        mean, components = self._fitted()
        if embedding.shape[-1] != len(mean):
            raise NandError(
                f"subspace: it was fitted on vectors of {len(mean)}, the images give {embedding.shape[-1]}; "
                "it was stored with another backbone or other layers, run the stage again"
            )
        distances = residual_norms(embedding.flatten(0, 2), mean, components).view(embedding.shape[:3])
        return image_maps(distances, self._settings, "anomalib").cpu()

    def view(self) -> View | None:
        """What its own backbone sees of an image; None for the shared encoder."""
        return self._features.view()

    def embed(self, features: Iterable[Tensor]) -> Tensor:
        """Feature maps (N, C_l, h_l, w_l) -> patch vectors (N, h, w, C), C the sum of C_l."""
        return joined_patches([feature.to(self._features.device) for feature in features])

    def _fitted(self) -> tuple[Tensor, Tensor]:
        if self._subspace is None:
            raise NandError("subspace: there is none yet; fit the detector or load its state first")
        return self._subspace
