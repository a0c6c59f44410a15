"""PatchCore (arXiv 2106.08265): distance of each patch to a coreset of good patches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from nand_core.detectors.base import Context, ImageBatch, check_state
from nand_core.detectors.coreset import (
    dense_projection,
    greedy_coreset,
    sparse_projection,
    start_from_mean,
    start_from_point,
)
from nand_core.detectors.patch_features import PatchFeatures, image_maps
from nand_core.detectors.patches import Bank, joined_patches, pooled_patches, reweighted_score
from nand_core.detectors.sample import Sample
from nand_core.detectors.settings import PatchCoreSettings
from nand_core.errors import NandError
from nand_core.view import View

PROJECTED = 128
STARTS = 10


class PatchCore:
    """A memory bank of good patches; a patch's score is its distance to the nearest of them."""

    trained = True

    def __init__(self, settings: PatchCoreSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._features = PatchFeatures(settings, context)
        self.needs = self._features.needs
        self._bank: Bank | None = None

    def fit(self, good: Iterable[ImageBatch]) -> None:
        """Fill the memory bank. Memory does not grow with the images once there are ``patches`` of them.

        Raises:
            NandError: there are too few good images for a coreset.
        """
        sample = Sample(self._settings.patches, self._settings.seed)
        for features in map(self._features, good):
            for image in range(len(features[0])):  # one at a time: as vectors they take many times the memory
                sample.add(self.embed(one[image : image + 1] for one in features).flatten(0, 2))
        points = sample.points
        count = int(len(points) * self._settings.coreset)
        if count < 1:
            raise NandError(
                f"patchcore: {len(points)} good patches of class {self._context.class_name!r} "
                f"leave nothing at coreset={self._settings.coreset}; add training images or raise it"
            )
        self._bank = Bank(points[self.coreset(points, count)])

    def state(self) -> dict[str, Tensor]:
        """``bank`` (m, d) float32."""
        return {"bank": self._fitted().rows.cpu()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take a stored memory bank.

        Raises:
            NandError: it is not a memory bank, or one of other dimensions.
        """
        width = self._settings.dimensions if self._settings.variant == "published" else None
        check_state(state, {"bank": (None, width)})
        self._bank = Bank(state["bank"].float().to(self._features.device))

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, S, S) float32, S = 256 for the shared encoder, else ``resize``."""
        return self.feature_maps(self._features(batch))

    def view(self) -> View | None:
        """What its own backbone sees of an image; None for the shared encoder."""
        return self._features.view()

    def embed(self, features: Iterable[Tensor]) -> Tensor:
        """Feature maps (N, C_l, h_l, w_l) -> patch vectors (N, h, w, d)."""
        features = [feature.to(self._features.device) for feature in features]
        if self._settings.variant == "published":
            return pooled_patches(features, self._settings.dimensions)
        return joined_patches(features)

    def coreset(self, points: Tensor, count: int) -> Tensor:
        """Rows of ``count`` representative points (n, d), by a seeded random projection and a seeded start."""
        generator = torch.Generator().manual_seed(self._settings.seed)
        n, width = points.shape
        if self._settings.variant == "published":
            if width > PROJECTED:
                points = points @ dense_projection(width, PROJECTED, generator).to(points).T
            starts = torch.randperm(n, generator=generator)[:STARTS].to(points.device)
            return greedy_coreset(points, count, start_from_mean(points, starts))
        points = points @ sparse_projection(width, n, generator).to(points).T
        start = int(torch.randint(n, (1,), generator=generator))
        return greedy_coreset(points, count, start_from_point(n, start, points.device))

    def feature_maps(self, features: Iterable[Tensor]) -> Tensor:
        """Anomaly maps from feature maps, in the frame of the whole image."""
        distances = self._patch_distances(self.embed(features))[0]
        if self._settings.distance == "squared":
            distances = distances.square()
        return image_maps(distances, self._settings, self._settings.variant).cpu()

    def feature_scores(self, features: Iterable[Tensor]) -> Tensor:
        """(N,) image scores as the variant has them: the largest patch distance, or anomalib's re-weighted one."""
        embedding = self.embed(features)
        distances, nearest = self._patch_distances(embedding)
        if self._settings.variant == "published":
            scores = distances.flatten(1).amax(dim=1)
            return (scores.square() if self._settings.distance == "squared" else scores).cpu()
        images = zip(distances.flatten(1), nearest.flatten(1), embedding.flatten(1, 2), strict=True)
        return torch.stack([reweighted_score(d, i, points, self._fitted().rows) for d, i, points in images]).cpu()

    def _patch_distances(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        bank = self._fitted()
        if embedding.shape[-1] != (width := bank.rows.shape[1]):
            raise NandError(
                f"patchcore: the memory bank holds vectors of {width}, the images give {embedding.shape[-1]}; "
                "it was stored with another backbone or other layers, run the stage again"
            )
        distances, nearest = bank.nearest(embedding.flatten(0, 2))
        return distances.view(embedding.shape[:3]), nearest.view(embedding.shape[:3])

    def _fitted(self) -> Bank:
        if self._bank is None:
            raise NandError("patchcore: the memory bank is empty; fit the detector or load its state first")
        return self._bank
