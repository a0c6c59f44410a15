"""The embedded encoder and a judge of one class that is made here, without a project."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from flows.inbox.judge import Batch, Judge
from nand_core.asked import Held, ask, competing
from nand_core.datasets.demo.photograph import Subject, draw
from nand_core.decision import good_level
from nand_core.detectors.base import Context, Detector
from nand_core.detectors.build import build_detector
from nand_core.detectors.settings import DetectorSettings
from nand_core.normality import image_score
from nand_core.settings import Rule, SuppressionSettings
from nand_core.vlm.encoder import VLM

CLASS, TEXT, GROUPS = "carpet", "loose fibre", ("thread", "hole", "cut", "color")
SETTINGS = SuppressionSettings()


def photographs(kind: str, count: int, side: int = 256) -> list[Image.Image]:
    """Of the demo's class."""
    split = "train" if kind == "good" else "test"
    return [Image.fromarray(draw(Subject(CLASS, split, kind, i), 0, side).image) for i in range(count)]


def held(vlm: VLM) -> Held:
    """The text as a normality that competes with two of the class's groups."""
    phrases = [f"{CLASS} without defect", TEXT, *(f"{group} on {CLASS}" for group in GROUPS)]
    f_nor, f_add, *others = map(tuple, vlm.encode_text(phrases).tolist())
    known = dict(zip(GROUPS, others, strict=True))
    rivals = competing(f_nor, known, GROUPS[1:3], SETTINGS)
    return Held(TEXT, ask(TEXT, f_add, f_nor, known, SETTINGS), None, tuple(rivals.values()))


def built(settings: DetectorSettings, vlm: VLM) -> Detector:
    """A detector of the class, not fitted yet."""
    texts = vlm.encode_text([f"{CLASS} without defect", f"damaged {CLASS}"])
    return build_detector(settings.kind, settings, Context(CLASS, lambda: vlm, lambda: tuple(texts)))


def batches(images: Sequence[Image.Image], vlm: VLM, most: int = 32) -> list[Batch]:
    """The images, a few at a time, each encoded once, when first asked for."""
    parts = [images[start : start + most] for start in range(0, len(images), most)]
    return [Batch([str(i) for i in range(len(part))], part, lambda: vlm) for part in parts]


def judge(settings: DetectorSettings, vlm: VLM, good: Sequence[Image.Image]) -> Judge:
    """Of a detector fitted on good images, with the text as its normality."""
    detector, parts = built(settings, vlm), batches(good, vlm)
    detector.fit(parts)
    level = good_level(torch.cat([image_score(detector.maps(batch)) for batch in parts]).tolist())
    return Judge("detector", detector, lambda: vlm, (held(vlm),), SETTINGS, Rule(level=level), 0.0, 0.0)
