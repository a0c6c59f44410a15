"""Anomaly detectors: each gives an anomaly map of the whole image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nand_core.detectors.april_gan import AprilGan, AprilGanSettings
from nand_core.detectors.base import Checked, Context, Detector, ImageBatch
from nand_core.detectors.external import (
    External,
    ExternalSettings,
    PluginSettings,
    build_plugin,
    external_digest,
    plugin_digest,
)
from nand_core.detectors.patchcore import PatchCore, PatchCoreSettings, patchcore_digest
from nand_core.detectors.winclip import WinCLIP, WinCLIPSettings
from nand_core.vlm.encoder import EncoderSettings, encoder_digest

__all__ = [
    "Context",
    "Detector",
    "DetectorSettings",
    "ImageBatch",
    "build_detector",
    "detector_digest",
    "detector_encoder",
]

DetectorSettings = Annotated[
    AprilGanSettings | PatchCoreSettings | WinCLIPSettings | ExternalSettings | PluginSettings,
    Field(discriminator="kind"),
]

_BUILDERS = {
    "april_gan": AprilGan,
    "patchcore": PatchCore,
    "winclip": WinCLIP,
    "external": External,
    "plugin": build_plugin,
}


def build_detector(name: str, settings: DetectorSettings, context: Context) -> Detector:
    """The detector for one class that the settings describe; nothing is loaded before it is used.

    Its ``maps`` raise a NandError that says ``name`` where a map is negative, not finite or of a wrong shape.
    """
    return Checked(name, _BUILDERS[settings.kind](settings, context))


def detector_encoder(settings: DetectorSettings, shared: EncoderSettings) -> EncoderSettings:
    """The encoder that ``Context.vlm`` must give to this detector: one of its own, or the shared one."""
    return getattr(settings, "encoder", None) or shared


def detector_digest(settings: DetectorSettings, class_name: str) -> dict[str, str]:
    """What a detector's maps depend on beside its settings and needs: digests of files of its own.

    Raises:
        NandError: a file is missing, or is not the one that the settings name.
    """
    match settings:
        case PatchCoreSettings():
            return patchcore_digest(settings)
        case WinCLIPSettings(encoder=EncoderSettings()):
            return encoder_digest(settings.encoder)
        case ExternalSettings():
            return external_digest(settings, class_name)
        case PluginSettings():
            return plugin_digest(settings)
    return {}
