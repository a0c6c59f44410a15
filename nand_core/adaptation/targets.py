"""What patches are to be near: the text features of the drawn types, as an encoder's own text tower gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nand_core.drawing.lexicon import Lexicon, lexicon
from nand_core.drawing.scenes import TYPES
from nand_core.normality import text_feature

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM

LABELS = ("normal", *TYPES, "abnormal", "unknown")
"""Of the targets, in their order."""


def defect_kinds(vlm: VLM, class_name: str) -> Tensor:
    """Unit text features (1 + K, E) of plain normality and of the kinds of defect of ``TYPES``, said of a class."""
    found = text_targets(vlm, lexicon(), [class_name.replace("_", " ")])
    return found[: 1 + len(TYPES)]


def text_targets(vlm: VLM, words: Lexicon, objects: Sequence[str] = (), count: int = 96) -> Tensor:
    """Unit text features (K, E) of ``LABELS``, float32 on the CPU.

    Args:
        words: how the types are spoken of.
        objects: what is seen in the images, "carpet"; by default every object of the lexicon.
        count: sentences a label.
    """
    rng = np.random.default_rng(0)

    def feature(label: str) -> Tensor:
        said = [words.place(words.state(rng, label), str(rng.choice(objects or words.objects)),
                            str(rng.choice(words.templates))) for _ in range(count)]  # fmt: skip
        return text_feature(vlm.encode_text(said)).cpu()

    return torch.stack([feature(label) for label in LABELS])
