"""One image of a line: the judge of ``inspect``, from image to verdict, beside a bare forward of the encoder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers import clip, line
from benchmarks.peers.pairs import Pair, Size
from flows.inbox.judge import Batch, Verdict
from nand_core.detectors.settings import AprilGanSettings, PatchCoreSettings
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.settings import EncoderSettings


def pairs(size: Size) -> Iterator[Pair]:
    """By two detectors and two encoders, with one text and two that compete."""
    yield from judged(load_vlm(EncoderSettings(device="cpu")), "embedded encoder", size)
    if not size.quick:
        yield from judged(clip.encoder(clip.config("ViT-B-16"), 336), "ViT-B-16 at 336", size)


def judged(vlm: VLM, encoder: str, size: Size) -> Iterator[Pair]:
    """By two detectors."""
    good, shown = line.photographs("good", size.of(8, 3)), line.photographs("thread", size.of(8, 2))
    pixels = torch.stack([vlm.preprocess(image) for image in shown])
    for settings in (AprilGanSettings(), PatchCoreSettings(device="cpu")):
        judge = line.judge(settings, vlm, good)
        images, inputs = cycle(enumerate(shown)), cycle(pixels.split(1))

        def ours(judge=judge, images=images) -> tuple[int, Verdict]:
            number, image = next(images)
            return number, judge([str(number)], [image])[0]

        @torch.no_grad()
        def bare(inputs=inputs) -> Tensor:
            return vlm.model.visual(next(inputs))

        def check(one: tuple[int, Verdict], other: Tensor, judge=judge) -> str:
            number, verdict = one
            batch = Batch([str(i) for i in range(len(shown))], shown, lambda: vlm)
            torch.testing.assert_close(batch.features().pooled[number], F.normalize(other, dim=-1)[0])
            score = float(judge.maps(batch)[1][number].max())
            assert abs(verdict.score_after - score) <= 1e-4 * score, f"{verdict.score_after} alone, {score} in a batch"
            return "embeddings, and the score that a batch gives, to 1e-4"

        name = f"inspect one image, {settings.kind}, {encoder}"
        yield Pair(name, "one bare forward", ours, bare, check, aim=1.3)
