"""The encoder that items share. Whoever asks for it depends on its code, and nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nand_core.artifacts.store import Record
from nand_core.detectors.settings import detector_encoder
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import encoder_digest
from tasks.work import Work

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM


def shared_encoder(work: Work, detector: str | None = None, heads: Record | None = None) -> VLM:
    """The settings' encoder, or the one that a detector asks for; loaded once. With a class's ``heads``, if any."""
    from nand_core.vlm.encoder import load_vlm  # takes seconds, and cached items never need it

    settings = work.params.encoder
    if detector is not None:
        settings = detector_encoder(work.params.detectors[detector], settings)
    name = settings.model_dump_json()
    with work.guard:
        if name not in work.loaded:
            work.loaded[name] = load_vlm(settings)
        vlm = work.loaded[name]
        if heads is None:
            return vlm
        own = f"{name} {heads.sha256}"
        if own not in work.loaded:
            work.loaded[own] = vlm.adapted(work.store.path(heads))
        return work.loaded[own]


def encoder_key(settings: EncoderSettings) -> dict[str, object]:
    """What an encoding depends on: the weights' digests and how they are used."""
    return {
        "files": encoder_digest(settings),
        **settings.model_dump(mode="json", exclude={"sha256", "batch_size", "pretrained", "linear_layers", "adapt"}),
    }
