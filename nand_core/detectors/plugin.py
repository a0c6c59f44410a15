"""Detectors that installed packages offer in the entry-point group ``nand.detectors``."""

from __future__ import annotations

from pathlib import Path

from nand_core.artifacts.store import digest, sha256_file
from nand_core.detectors.base import Context, Detector
from nand_core.detectors.outside import plugin_entry, plugin_sources
from nand_core.detectors.settings import PluginSettings
from nand_core.errors import NandError


def build_plugin(settings: PluginSettings, context: Context) -> Detector:
    """The detector that the named entry point makes.

    Raises:
        NandError: no installed package offers it, or it cannot be imported, or what it makes is no detector.
    """
    entry = plugin_entry(settings.name)
    try:
        factory = entry.load()
    except (ImportError, AttributeError) as error:
        raise NandError(
            f"detector plugin {settings.name!r}: {entry.value} cannot be imported ({error})"
        ) from error
    detector: Detector = factory(dict(settings.options), context)
    lacking = [
        part
        for part in ("needs", "trained", "fit", "state", "load_state", "maps")
        if not hasattr(detector, part)
    ]
    if lacking:
        raise NandError(
            f"detector plugin {settings.name!r}: {entry.value} made a detector without {', '.join(lacking)}"
        )
    return detector


def plugin_digest(settings: PluginSettings, class_name: str) -> dict[str, str]:
    """What stands for a plugin in a cache key: its package's version and sources, and files that its options name."""
    entry = plugin_entry(settings.name)
    code = f"{entry.dist.name} {entry.dist.version} {entry.value}" if entry.dist else entry.value
    texts = {key: value for key, value in settings.options.items() if isinstance(value, str)}
    paths = {key: Path(value.replace("{class}", class_name)) for key, value in texts.items()}
    sources = digest({name: sha256_file(path) for name, path in plugin_sources(settings.name).items()})
    files = {key: sha256_file(path) for key, path in paths.items() if path.is_file()}
    return {"plugin": code, "sources": sources} | files

