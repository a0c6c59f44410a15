"""The text feature of one set of sentences (Eq. 3)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from nand_core.artifacts.store import Record
from nand_core.normality import text_feature
from tasks.cache import Spec, item
from tasks.encoder import shared_encoder
from tasks.work import Work


class TextSpec(Spec):
    """Sentences and the encoder that reads them."""

    sentences: tuple[str, ...]
    encoder: dict[str, Any]


@item
def text_features(spec: TextSpec, work: Work) -> Record:
    """The unit vector (E,) float32, as npy."""
    vlm = shared_encoder(work, spec.encoder)
    vector = text_feature(vlm.encode_text(spec.sentences)).cpu().numpy().astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, vector, allow_pickle=False)
    return work.store.put(buffer.getvalue(), "npy")
