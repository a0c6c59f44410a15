"""WinCLIP (arXiv 2303.14814): windows asked about normal and abnormal, and compared with a few good images."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nand_core.detectors.base import Context, ImageBatch, check_state
from nand_core.detectors.settings import WinCLIPSettings
from nand_core.detectors.windows import (
    WindowFeatures,
    encode_windows,
    harmonic_mean,
    patch_grid,
    window_index,
)
from nand_core.errors import NandError
from nand_core.prompts.templates import fill, object_name, sentences
from nand_core.view import View

_AT_ONCE = 16
"""References encoded together: their windows take many times the memory that they do."""


class WinCLIP:
    """Harmonic fusion of window scores; with references, the mean with their distance to the nearest good one."""

    needs = frozenset({"vlm"})

    def __init__(self, settings: WinCLIPSettings, context: Context) -> None:
        self.trained = settings.shots > 0
        self._settings = settings
        self._context = context
        self._text: Tensor | None = None
        self._references: dict[str, Tensor] | None = None

    def fit(self, good: Iterable[ImageBatch]) -> None:
        """Encode the reference images.

        Raises:
            NandError: there are fewer good images than shots.
        """
        if not self.trained:
            return
        batches = list(good)
        chosen = self._choose({image_id for batch in batches for image_id in batch.ids})
        seen: dict[str, list[Tensor]] = {image_id: [] for image_id in chosen}  # of an image in tiles all of them
        batches.reverse()
        while batches:  # one that is done with keeps no decoded image
            batch = batches.pop()
            if not seen.keys().isdisjoint(batch.ids):
                for image_id, image in zip(batch.ids, batch.images(), strict=True):
                    if image_id in seen:
                        seen[image_id].append(self._context.vlm().preprocess(image))
        pixels = torch.stack([view for image_id in chosen for view in seen[image_id]])
        # The references of whole images at once, as ever.
        parts = [self._encode(part) for part in torch.split(pixels, max(self._settings.shots, _AT_ONCE))]
        ids = torch.frombuffer(bytearray(json.dumps(chosen).encode()), dtype=torch.uint8)
        self._references = {"ids": ids, "patches": torch.cat([part.patches for part in parts])} | {
            f"windows_{scale}": torch.cat([part.windows[number] for part in parts])
            for number, scale in enumerate(self._settings.scales)
        }

    @property
    def reference_ids(self) -> list[str]:
        """The ids of the reference images."""
        return _ids(self._fitted()) if self.trained else []

    def state(self) -> dict[str, Tensor]:
        """``patches`` (k, P, C), ``windows_<scale>`` (k, W, E), and ``ids``, the references' ids as JSON in UTF-8."""
        if not self.trained:
            return {}
        return {name: value.cpu().contiguous() for name, value in self._fitted().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take stored references.

        Raises:
            NandError: they were stored with other shots, scales or another encoder.
        """
        if not self.trained:
            check_state(state, {})
            return
        vlm, settings = self._context.vlm(), self._settings
        h, w = patch_grid(vlm, settings.scales)
        # As many as shots, of images in tiles more.
        count = len(state["patches"]) if "patches" in state else None
        expected = {"ids": (None,), "patches": (count, h * w, None)} | {
            f"windows_{s}": (count, (h - s + 1) * (w - s + 1), vlm.embed_dim) for s in settings.scales
        }
        check_state(state, expected)
        if len(held := _ids(state)) != settings.shots:
            raise NandError(
                f"detector state: holds {len(held)} references, expected {settings.shots}; "
                "it was stored with other settings, run the stage again"
            )
        self._references = {name: value.to(vlm.device) for name, value in state.items()}

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, S, S) float32 in [0, 1], S the encoder's image size."""
        return self.scores_and_maps(batch.images())[1]

    def view(self) -> View:
        """What its encoder sees of an image."""
        return self._context.vlm().view

    def scores_and_maps(self, images: list[Image.Image]) -> tuple[Tensor, Tensor]:
        """WinCLIP's own image scores (n,) and its maps (n, S, S)."""
        vlm = self._context.vlm()
        scores, grids = self.grids(self._encode(torch.stack([vlm.preprocess(image) for image in images])))
        size = vlm.image_size
        maps = F.interpolate(grids[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
        return scores.cpu(), maps.cpu()

    def grids(self, features: WindowFeatures) -> tuple[Tensor, Tensor]:
        """Image scores (n,) and patch scores (n, h, w)."""
        scores, grid = self.zero_shot(features)
        if self.trained:
            few = self.few_shot(features)
            return (scores + few.amax(dim=(1, 2))) / 2, (grid + few) / 2
        return scores, grid

    def zero_shot(self, features: WindowFeatures) -> tuple[Tensor, Tensor]:
        """By the text alone: probability of abnormal for the image (n,), fused with its windows' (n, h, w)."""
        shape = patch_grid(self._context.vlm(), self._settings.scales)
        image = self._abnormal(features.image)
        fused = 1 / image.view(-1, 1, 1)
        for windows, scale in zip(features.windows, self._settings.scales, strict=True):
            fused = fused + 1 / harmonic_mean(self._abnormal(windows), self._index(shape, scale), shape)
        return image, (len(self._settings.scales) + 1) / fused

    def few_shot(self, features: WindowFeatures) -> Tensor:
        """By the references: mean over patches and windows of the distance to the nearest good one, (n, h, w)."""
        references = self._fitted()
        shape = patch_grid(self._context.vlm(), self._settings.scales)
        total = _distance(features.patches, references["patches"]).view(-1, *shape)
        for windows, scale in zip(features.windows, self._settings.scales, strict=True):
            distance = _distance(windows, references[f"windows_{scale}"])
            total = total + harmonic_mean(distance, self._index(shape, scale), shape)
        return total / (len(self._settings.scales) + 1)

    def text(self) -> Tensor:
        """(2, E) mean embeddings of the normal and the abnormal ensemble."""
        if self._text is None:
            name = object_name(self._context.class_name)
            ensembles = (self._settings.normal_states, self._settings.abnormal_states)
            prompts = [sentences(fill(states, name), self._settings.templates) for states in ensembles]
            vlm = self._context.vlm()
            self._text = torch.stack([vlm.encode_text(p, normalize=False).mean(dim=0) for p in prompts])
        return self._text

    def _abnormal(self, embeddings: Tensor) -> Tensor:
        cosine = F.normalize(embeddings, dim=-1) @ F.normalize(self.text(), dim=-1).T
        return (cosine / self._settings.temperature).softmax(dim=-1)[..., 1]

    def _encode(self, pixels: Tensor) -> WindowFeatures:
        return encode_windows(self._context.vlm(), pixels, self._settings.scales)

    def _index(self, shape: tuple[int, int], scale: int) -> Tensor:
        return window_index(shape, scale).to(self._context.vlm().device)

    def _choose(self, ids: set[str]) -> list[str]:
        if len(ids) < self._settings.shots:
            raise NandError(
                f"winclip: shots={self._settings.shots}, but class {self._context.class_name!r} has "
                f"{len(ids)} good training images; lower shots"
            )
        return random.Random(self._settings.seed).sample(sorted(ids), self._settings.shots)  # noqa: S311 - seeded

    def _fitted(self) -> dict[str, Tensor]:
        if self._references is None:
            raise NandError("winclip: no reference images yet; fit the detector or load its state first")
        return self._references


def _ids(state: Mapping[str, Tensor]) -> list[str]:
    found: list[str] = json.loads(bytes(state["ids"].tolist()))
    return found


def _distance(embeddings: Tensor, references: Tensor) -> Tensor:
    """(n, p, d) to (k, p, d): half the cosine distance to the nearest reference of any place, (n, p)."""
    cosine = F.normalize(embeddings, dim=-1) @ F.normalize(references.flatten(0, 1), dim=-1).T
    return ((1 - cosine.amax(dim=-1)) / 2).clamp(min=0)
