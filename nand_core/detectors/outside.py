"""The files outside a project that a detector's maps depend on. Neither torch nor a model is loaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from glob import escape, glob
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from nand_core.detectors.settings import (
    AprilGanSettings,
    DetectorSettings,
    ExternalSettings,
    PatchSettings,
    PluginSettings,
    WinCLIPSettings,
    detector_encoder,
)
from nand_core.errors import NandError, nearest
from nand_core.vlm.outside import encoder_files
from nand_core.vlm.settings import EncoderSettings

ENTRY_POINTS = "nand.detectors"


def detector_files(settings: DetectorSettings, shared: EncoderSettings) -> dict[str, Path]:
    """The files of a detector, and of the encoder where it may ask that, by name."""
    match settings:
        case AprilGanSettings() | WinCLIPSettings():
            return encoder_files(detector_encoder(settings, shared))
        case PatchSettings(library="encoder"):
            return encoder_files(shared)
        case PatchSettings(weights=str() as weights):
            return _below(weights)
        case ExternalSettings():
            return _below(settings.maps)
        case PluginSettings():
            options = [value for value in settings.options.values() if isinstance(value, str)]
            named = {name: path for value in options for name, path in _below(value).items()}
            return encoder_files(shared) | plugin_sources(settings.name) | named
    return {}


def _below(pattern: str) -> dict[str, Path]:
    """The file that is named, or all below the folder; ``{class}`` stands for any name."""
    found = glob("*".join(map(escape, pattern.split("{class}")))) if pattern else []
    return {path.as_posix(): path for name in sorted(found) for path in _files(Path(name))}


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (inner for inner in sorted(path.rglob("*")) if inner.is_file())
    elif path.is_file():
        yield path


def plugin_entry(name: str) -> EntryPoint:
    """The entry point of a detector plugin.

    Raises:
        NandError: no installed package offers it.
    """
    offered = entry_points(group=ENTRY_POINTS)
    if name not in offered.names:
        raise NandError(f"detector plugin: no installed package offers {name!r}{nearest(name, offered.names)}")
    return offered[name]


def plugin_version(name: str) -> dict[str, str]:
    """The package that offers a plugin, with its version and the entry point; {} where none does."""
    try:
        entry = plugin_entry(name)
    except NandError:
        return {}
    return {entry.dist.name if entry.dist else name: f"{entry.dist.version if entry.dist else ''} {entry.value}"}


def plugin_sources(name: str) -> dict[str, Path]:
    """The Python files of the package, or the module, in which a plugin lies; {} where it is not installed."""
    try:
        found = importlib.util.find_spec(plugin_entry(name).module.partition(".")[0])
    except (NandError, ValueError):
        return {}
    if found is None or found.origin is None:
        return {}
    path = Path(found.origin)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    base = path.parent.parent if path.name == "__init__.py" else path.parent
    return {file.relative_to(base).as_posix(): file for file in files}
