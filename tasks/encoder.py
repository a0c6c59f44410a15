"""The encoder that items share. Whoever asks for it depends on its code, and nobody else does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nand_core.artifacts.store import Record, digest
from nand_core.detectors.settings import detector_encoder
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import encoder_digest
from tasks.work import Work

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM

_UNKEYED = {"sha256", "batch_size", "pretrained", "linear_layers", "adapt", "centre", "tiles"}
"""Settings that change no encoding, or enter a key elsewhere: as digests, as heads, with the images."""


def shared_encoder(
    work: Work, encoder: Mapping[str, Any] | None = None, detector: str | None = None, heads: Record | None = None
) -> VLM:
    """The settings' encoder, or the one that a detector asks for; loaded once. With a class's ``heads``, if any.

    Args:
        encoder: what :func:`encoder_key` gave: the encoder is of these files; None: as they are now.

    Raises:
        NandError: it cannot be loaded, or one of its files has changed since.
    """
    from nand_core.vlm.encoder import load_vlm  # takes seconds, and cached items never need it

    settings = work.params.encoder
    if detector is not None:
        settings = detector_encoder(work.params.detectors[detector], settings)
    files = (encoder or encoder_key(settings))["files"]
    section, name = settings.model_dump_json(), digest(files)
    with work.guard:
        if (section, name) not in work.loaded:
            # One of other files of these settings, if there is one, was loaded before they changed.
            work.loaded = {key: one for key, one in work.loaded.items() if key[0] != section}
            work.loaded[section, name] = load_vlm(settings, files)
        vlm = work.loaded[section, name]
        if heads is None:
            return vlm
        own = section, f"{name} {heads.sha256}"
        if own not in work.loaded:
            work.loaded[own] = vlm.adapted(work.store.path(heads))
        return work.loaded[own]


def encoder_key(settings: EncoderSettings) -> dict[str, Any]:
    """What an encoding depends on: the weights' digests and how they are used."""
    return {
        "files": encoder_digest(settings),
        **settings.model_dump(mode="json", exclude=_UNKEYED),
    }
