"""Detectors from their settings, and what their maps depend on."""

from __future__ import annotations

from nand_core.detectors.april_gan import AprilGan
from nand_core.detectors.base import Checked, Context, Detector
from nand_core.detectors.external import External, build_plugin, external_digest, plugin_digest
from nand_core.detectors.patchcore import PatchCore, patchcore_digest
from nand_core.detectors.settings import (
    DetectorSettings,
    ExternalSettings,
    PatchCoreSettings,
    PluginSettings,
    WinCLIPSettings,
)
from nand_core.detectors.winclip import WinCLIP
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import encoder_digest

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
