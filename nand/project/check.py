"""What a run would refuse, found before anything runs, and what was found of the data set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nand.project.examples import EXAMPLES
from nand.project.structure import structure
from nand_core.config import Params
from nand_core.datasets.manifest import (
    Progress,
    check_images,
    deep_bits,
    digest_files,
    duplicates,
    with_bits,
)
from nand_core.datasets.scan import table
from nand_core.errors import NandError
from nand_core.normalities import Normality, current, known_groups

if TYPE_CHECKING:
    import pandas as pd

    from nand_core.datasets.scan import Image
    from nand_core.detectors.settings import DetectorSettings
    from nand_core.vlm.encoder import VLM
    from nand_core.vlm.settings import EncoderSettings

FORCE = "'force: true' in its entry"
AT_ONCE = 32
ENCODED, FOREIGN = ("april_gan", "winclip", "patchcore", "subspace"), ("external", "plugin")
"""Kinds of detectors that can ask the encoder, and of those that bring files of their own."""


@dataclass
class Found:
    """What there is, and what is wrong with it.

    Attributes:
        counts: of classes, images and groups, in words; "" while the demo's images are yet to be drawn.
        unknown: words of classes, groups and normalities that the text encoder does not know.
        warnings, faults: a line each; a run would refuse the faults.
    """

    counts: str = ""
    unknown: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def look(path: Path, *, quick: bool = False, progress: Progress | None = None) -> Found:
    """Everything that a run would refuse; ``quick`` looks at the structure alone.

    Raises
    ------
    NandError
        As :func:`nand.project.structure.structure`; what is wrong beyond it is among the faults.
    """
    found = Found()
    with _heard(found.warnings):
        params, images = structure(path)
        frame = None if images is None else table(images)
        if frame is not None:
            found.counts = counted(frame)
        if quick:
            return found
        if frame is not None:
            with _kept(found.faults):
                found.unknown = _words(params, frame, found)
            with _kept(found.faults):
                frame = _images(params, frame, found, progress)
            with _kept(found.faults):
                _examples(params, frame)
        for name, settings in params.detectors.items():
            with _kept(found.faults):
                _detector(params, name, settings, frame, found)
        with _kept(found.faults):
            vlm = _encoder(params.encoder, "encoder", found)
            if vlm is not None and params.encoder.adapt is None:
                _ = vlm.linear  # refuses an encoder that has none
    found.faults = list(dict.fromkeys(found.faults))
    found.warnings = list(dict.fromkeys(found.warnings))
    return found


def counted(frame: pd.DataFrame) -> str:
    """``1 class, 40 to fit on, 60 to test, 2 groups``, and how many parts they show where that is known."""
    groups = sum(map(len, known_groups(frame).values()))
    classes, train = frame["class"].nunique(), int((frame["split"] == "train").sum())
    parts = f", {frame.groupby(['class', 'part']).ngroups} parts" if "part" in frame else ""
    return (
        f"{classes} class{'es' if classes != 1 else ''}, {train} to fit on, {len(frame) - train} to test, "
        f"{groups} group{'s' if groups != 1 else ''}{parts}"
    )


def check_saved_maps(params: Params, images: Sequence[Image]) -> None:
    """Refuse maps of another program that a run would refuse, before it begins.

    Raises
    ------
    NandError
        Naming the file.
    """
    frame = table(images)
    for name, settings in params.detectors.items():
        if settings.kind == "external":
            _detector(params, name, settings, frame, Found())


def _words(params: Params, frame: pd.DataFrame, found: Found) -> tuple[str, ...]:
    from nand_core.prompts.openai_client import KEY, api_key
    from nand_core.prompts.provide import prompt_key, with_phrases
    from nand_core.understanding import check_understood, spoken
    from nand_core.vlm.tokenizers import unknown_words, word_tokenizer

    tokenizer, groups = word_tokenizer(params.encoder), known_groups(frame)
    held = current(params.prompts, groups)
    said: list[tuple[str, str, tuple[str, ...], Normality | None]]
    said = [(name, group, (), None) for name in groups for group in groups[name]]
    said += [(one.class_name, one.text, one.phrases, one) for one in held if one.asked]
    words = list(groups)
    for name, text, phrases, one in said:
        key = prompt_key(name, text, with_phrases(params.prompts, name, text, phrases))
        if "phrases" not in key:
            words.append(text)
            if api_key() is None:
                found.warnings.append(f"prompts.provider: openai asks with the key in {KEY}, which is not set")
            continue
        words += spoken(key)
        if tokenizer is not None and one is not None and not one.force:
            with _kept(found.faults):
                check_understood(tokenizer, key, f"prompts.normalities.{name}", FORCE)
    return tuple(unknown_words(tokenizer, " ".join(words))) if tokenizer is not None else ()


def _images(params: Params, frame: pd.DataFrame, found: Found, progress: Progress | None) -> pd.DataFrame:
    root = Path(params.dataset.root)
    frame = digest_files(frame, root)
    try:
        frame = check_images(frame, root, progress)
    finally:  # of what cannot be decoded the bytes alone are compared
        found.warnings += duplicates(frame)
    return with_bits(frame, params.dataset, root)


def _examples(params: Params, frame: pd.DataFrame) -> None:
    if any(entry.files for entries in params.prompts.normalities.values() for entry in entries):
        from nand_core.example_files import check_example_files

        check_example_files(params.prompts, EXAMPLES, deep_bits(frame) or params.dataset.bits)


def _detector(
    params: Params, name: str, settings: DetectorSettings, frame: pd.DataFrame | None, found: Found
) -> None:
    """Whether a detector can be made, has the files that it needs, and suits its encoder and the data set."""
    from nand_core.detectors.settings import detector_encoder

    own, vlm = detector_encoder(settings, params.encoder), None
    if settings.kind in ENCODED:
        vlm = _encoder(own, "encoder" if own is params.encoder else f"detectors.{name}.encoder", found)
    for class_name, ids in ({"": ()} if frame is None else _paths(frame, "test")).items():
        _made(name, settings, class_name, ids)
    if vlm is not None:
        _suits(settings, vlm)
    shots = getattr(settings, "shots", 0)
    for class_name, ids in ({} if frame is None else _paths(frame, "train")).items():
        if len(ids) < shots:
            have = f"class {class_name!r} has {len(ids)} good training images"
            raise NandError(f"detectors.{name}.shots: {shots}, but {have}; lower it")
    if getattr(settings, "backbone", "encoder") != "encoder":
        _backbone(name, settings, found)


def _made(name: str, settings: DetectorSettings, class_name: str, ids: Sequence[str]) -> None:
    from flows.inbox.judge import Batch
    from nand_core.detectors.base import Context
    from nand_core.detectors.build import build_detector, detector_digest

    try:
        detector = build_detector(name, settings, Context(class_name, _no_encoder, lambda: ()))
    except NandError:
        raise
    except Exception as error:  # another package's program
        raise NandError(f"detectors.{name}: cannot be made ({type(error).__name__}: {error})") from error
    if settings.kind in FOREIGN and ids:
        detector_digest(settings, class_name, ids)
    if settings.kind == "external":
        for start in range(0, len(ids), AT_ONCE):
            detector.maps(Batch(ids[start : start + AT_ONCE], (), _no_encoder))


def _suits(settings: DetectorSettings, vlm: VLM) -> None:
    from nand_core.detectors.patch_features import chosen_blocks
    from nand_core.detectors.settings import PatchSettings, WinCLIPSettings
    from nand_core.detectors.windows import patch_grid

    if isinstance(settings, WinCLIPSettings):
        patch_grid(vlm, settings.scales)
    if isinstance(settings, PatchSettings) and settings.backbone == "encoder":
        chosen_blocks(settings, vlm.layers)


def _backbone(name: str, settings: Any, found: Found) -> None:
    """A network of its own, unless a run would fetch it first."""
    from nand_core.detectors.backbones import load_backbone
    from nand_core.detectors.networks import backbone_file
    from nand_core.vlm.device import pick_device

    if settings.weights is not None or backbone_file(settings).present:
        load_backbone(settings, pick_device(settings.device))
    else:
        said = f"{settings.backbone} is not here yet; a run fetches it if it is online"
        found.warnings.append(f"detectors.{name}: {said}")


def _no_encoder() -> VLM:
    raise NandError("no detector is asked anything before the run")


def _paths(frame: pd.DataFrame, split: str) -> dict[str, tuple[str, ...]]:
    rows = frame[frame["split"] == split]
    return {str(name): tuple(part["path"]) for name, part in rows.groupby("class", sort=True)}


def _encoder(settings: EncoderSettings, where: str, found: Found) -> VLM | None:
    """The encoder loaded, once; None if a run would fetch it first."""
    from nand_core.vlm.sources import weight_files

    absent = [file for file in weight_files(settings) if not file.present]
    for file in absent:
        if file.missing:
            file.located()
    if tags := [file for file in absent if file.path is None]:
        named = " ".join(dict.fromkeys([settings.model, tags[0].wanted]))
        found.warnings.append(f"{where}: {named} is not here yet; a run fetches it if it is online")
        return None
    return _loaded(settings.model_dump_json())


@cache
def _loaded(settings: str) -> VLM:
    from nand_core.vlm.encoder import load_vlm
    from nand_core.vlm.settings import EncoderSettings

    return load_vlm(EncoderSettings.model_validate_json(settings))


@contextmanager
def _kept(faults: list[str]) -> Iterator[None]:
    """A mistake becomes one of the faults, and the rest is looked at all the same."""
    try:
        yield
    except NandError as error:
        faults.append(str(error))


class _Handler(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextmanager
def _heard(lines: list[str]) -> Iterator[None]:
    """What the method logs as warnings, as lines."""
    logger, handler = logging.getLogger("nand_core"), _Handler(lines)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
