"""A new text or example on cached images, beside fitting anew and beside a run of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor

from benchmarks.peers import clip, line
from benchmarks.peers.pairs import Pair, Size
from flows.inbox.judge import Batch
from nand_core.asked import Compared, answer, seen
from nand_core.decision import Claim, final_maps, good_level
from nand_core.detectors.settings import PatchCoreSettings
from nand_core.examples import Shown, good_distances, learn_good, patch_vectors, picture_patches, together
from nand_core.normality import image_score
from nand_core.settings import ExampleSettings, Rule
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.settings import EncoderSettings

PATCHCORE, EXAMPLES = PatchCoreSettings(device="cpu"), ExampleSettings()


class Cached:
    """What a project holds of its images before the change: encodings, base maps, distances, and rivals' maps."""

    def __init__(self, vlm: VLM, good: list[Image.Image], images: list[Image.Image]) -> None:
        self.vlm, self.good = vlm, line.batches(good, vlm)
        self.images = line.batches(images, vlm)
        detector = line.built(PATCHCORE, vlm)
        detector.fit(self.good)
        self.base = [detector.maps(batch) for batch in self.images]
        level = good_level(torch.cat([image_score(detector.maps(batch)) for batch in self.good]).tolist())
        self.rule = Rule(level=level)
        self.reference = learn_good(map(vectors, self.good), len(good), EXAMPLES)
        self.distances = [good_distances(vectors(batch), self.reference) for batch in self.images]
        rivals = line.held(vlm).rivals
        self.rivals = [
            tuple(answer(vlm, batch.features(), one, line.SETTINGS) for one in rivals) for batch in self.images
        ]

    def text(self) -> Tensor:
        """Scores after a new text."""
        asked = line.held(self.vlm).asked
        maps = (seen(self.vlm, batch.features(), asked, None, line.SETTINGS) for batch in self.images)
        return self._scores(maps)

    def example(self, picture: Image.Image) -> Tensor:
        """Scores after an image that shows what is fine."""
        patches, *_ = picture_patches(self.vlm, picture, None, self.reference, EXAMPLES)
        shown = Shown(together([patches], EXAMPLES), torch.empty(0, 0), self.reference.level)
        maps = (
            seen(self.vlm, batch.features(), None, Compared(shown, distances, EXAMPLES), line.SETTINGS)
            for batch, distances in zip(self.images, self.distances, strict=True)
        )
        return self._scores(maps)

    def _scores(self, maps: Iterator[Tensor]) -> Tensor:
        parts = zip(self.base, maps, self.rivals, strict=True)
        return torch.cat(
            [image_score(final_maps(base, [Claim(found, rivals)], self.rule)) for base, found, rivals in parts]
        )

    def fitted(self, shown: list[Batch]) -> Tensor:
        """Scores of a detector that is fitted anew, on the good images and on those that are fine from now on."""
        detector = line.built(PATCHCORE, self.vlm)
        detector.fit([*self.good, *shown])
        return torch.cat([image_score(detector.maps(batch)) for batch in self.images])


def vectors(batch: Batch) -> Tensor:
    """Its encoding as examples are compared with it."""
    return patch_vectors(batch.features().layers)


def pairs(size: Size) -> Iterator[Pair]:
    """PatchCore on the features of the embedded encoder, which is small, and of one of a usual size."""
    yield from changed(load_vlm(EncoderSettings(device="cpu")), "embedded encoder", size.of(1000, 8), size.of(50, 4))
    if not size.quick:
        large = clip.encoder(clip.config("ViT-B-16"), 336)
        yield next(changed(large, "ViT-B-16 at 336", 16, 8))  # its weights are random: the other checks mean nothing


def changed(vlm: VLM, encoder: str, count: int, fitted: int) -> Iterator[Pair]:
    """For so many test images, and good ones to fit on."""
    some = [*line.photographs("good", min(50, count // 2)), *line.photographs("thread", min(50, count // 2))]
    good, images = line.photographs("good", fitted), (some * count)[:count]
    cached, picture = Cached(vlm, good, images), some[-1]
    shown = line.batches([picture], vlm)

    def run() -> Tensor:
        return Cached(vlm, good, images).text()

    def lower(one: Tensor, other: Tensor) -> str:
        assert len(one) == len(other)
        before = torch.cat([image_score(maps) for maps in cached.base])
        assert (one <= before).all()
        assert (one < before).any()
        return f"{(one < before).sum()} of {count} scores fell; theirs are of another kind"

    def same(one: Tensor, other: Tensor) -> str:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=0)
        return "scores to 1e-4"

    def pair(what: str, against: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], check, rounds) -> Pair:
        name = f"{what}, {count} cached images, {encoder}"
        return Pair(name, against, ours, theirs, check, aim=0.02, rounds=rounds)

    anew = f"PatchCore fitted anew on {fitted} good images"
    yield pair("a new text", "a run of everything", cached.text, run, same, 1)
    yield pair("a new text", anew, cached.text, lambda: cached.fitted(shown), lower, 3)
    yield pair("a new example", anew, lambda: cached.example(picture), lambda: cached.fitted(shown), lower, 3)
