"""Detectors from their settings, and what their maps depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nand_core.detectors.april_gan import AprilGan
from nand_core.detectors.base import Checked, Context, Detector
from nand_core.detectors.external import External, external_digest
from nand_core.detectors.networks import backbone_digest
from nand_core.detectors.patchcore import PatchCore
from nand_core.detectors.plugin import build_plugin, plugin_digest
from nand_core.detectors.settings import (
    DetectorSettings,
    ExternalSettings,
    PatchSettings,
    PluginSettings,
    WinCLIPSettings,
)
from nand_core.detectors.subspace import Subspace
from nand_core.detectors.winclip import WinCLIP
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import encoder_digest

_BUILDERS: Mapping[str, Callable[[Any, Context], Detector]] = {
    "april_gan": AprilGan,
    "patchcore": PatchCore,
    "subspace": Subspace,
    "winclip": WinCLIP,
    "external": External,
    "plugin": build_plugin,
}


def build_detector(name: str, settings: DetectorSettings, context: Context) -> Detector:
    """The detector for one class that the settings describe; nothing is loaded before it is used.

    Its ``maps`` raise a NandError that says ``name`` where a map is negative, not finite or of a wrong shape.
    """
    return Checked(name, _BUILDERS[settings.kind](settings, context))


def detector_digest(settings: DetectorSettings, class_name: str, ids: Sequence[str]) -> dict[str, str]:
    """What a detector's maps of the images ``ids`` depend on beside its settings and needs: files of its own.

    Raises:
        NandError: a file is missing, or is not the one that the settings name.
    """
    match settings:
        case PatchSettings():
            return backbone_digest(settings)
        case WinCLIPSettings(encoder=EncoderSettings() as encoder):
            return encoder_digest(encoder)
        case ExternalSettings():
            return external_digest(settings, class_name, ids)
        case PluginSettings():
            return plugin_digest(settings, class_name)
    return {}
