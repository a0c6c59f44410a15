"""Which weight files the settings need, which of them are here, where the others belong and come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from nand.published import Published, of_backbone, of_encoder
from nand_core.artifacts.store import sha256_file
from nand_core.config import Params
from nand_core.detectors.networks import backbone_file
from nand_core.detectors.settings import PatchSettings
from nand_core.vlm.files import WeightFile
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import weight_files


@dataclass(frozen=True)
class NeededFile:
    """A weight file and what is to be done about it.

    Attributes:
        sections: of the params file that need it; several detectors may share a file.
        model: whose weights they are.
        file: what the settings ask for, and where it lies on this machine.
        sha256: of the file that is here, "" if it is not.
        source: where it is published, as far as that is known.
    """

    sections: tuple[str, ...]
    model: str
    file: WeightFile
    sha256: str
    source: Published | None = None

    @property
    def state(self) -> Literal["here", "missing", "wrong"]:
        """``wrong``: its sha256 is not the one in the settings."""
        if not self.sha256:
            return "missing"
        return "wrong" if self.file.sha256 and self.file.sha256.lower() != self.sha256 else "here"

    @property
    def advice(self) -> str:
        """What to do about a file that is missing or wrong, else ""."""
        file, where = self.file, f"{self.sections[0]}.{self.file.key}"
        if self.state == "wrong":
            return f"{where}: {file.path} is not the file with sha256 {file.sha256}; fetch it again or correct sha256"
        if self.state == "here":
            return ""
        if file.missing:
            return f"{where}: {file.missing}"
        if file.path is not None:
            return f"{where}: put the file at {file.path}, or set {where} to where it lies"
        tag = self.model if file.wanted == self.model else f"{self.model} {file.wanted}"
        return f"{where}: {tag} is fetched by the first run if it is online; if not, set {where} to the file's path"

    @property
    def origin(self) -> str:
        """Source page, licence and sha256 of what is published, else ""."""
        if self.source is None:
            return ""
        source, name = self.source, self.source.file or PurePosixPath(self.source.url).name
        facts = f"{name} from {source.page}; licence: {source.licence}; sha256: {source.digest}"
        return f"{self.sections[0]}.{self.file.key}: {facts}"


def needed_files(params: Params) -> list[NeededFile]:
    """Every weight file of a run, each once. Nothing is fetched and no model is loaded.

    Raises:
        NandError: the settings name a model or weights that nobody knows.
    """
    sections: dict[tuple[str, WeightFile], list[str]] = {}
    sources = {}
    for section, model, file, source in _files(params):
        sections.setdefault((model, file), []).append(section)
        sources[model, file] = source
    return [
        NeededFile(
            tuple(users),
            model,
            file,
            sha256_file(file.path) if file.path and file.present else "",
            sources[model, file],
        )
        for (model, file), users in sections.items()
    ]


def fetch_missing(files: Iterable[NeededFile], say: Callable[[str], None]) -> None:
    """Download what is missing or wrong and published; ``say`` is told before each.

    Raises
    ------
    NandError
        For the first one that cannot be had (``nand.download``); those before it are here.
    """
    from nand.download import download

    for needed in files:
        if needed.state != "here" and needed.source is not None:
            say(f"fetching {needed.origin}")
            download(needed.source, needed.file.path, needed.file.sha256)


def _files(params: Params) -> Iterator[tuple[str, str, WeightFile, Published | None]]:
    yield from _of_encoder("encoder", params.encoder)
    for name, settings in params.detectors.items():
        encoder = getattr(settings, "encoder", None)
        if isinstance(encoder, EncoderSettings):
            yield from _of_encoder(f"detectors.{name}.encoder", encoder)
        elif isinstance(settings, PatchSettings) and settings.backbone != "encoder":
            file = backbone_file(settings)
            yield f"detectors.{name}", settings.backbone, file, of_backbone(settings)


def _of_encoder(section: str, encoder: EncoderSettings) -> Iterator[tuple[str, str, WeightFile, Published | None]]:
    for file in weight_files(encoder):
        yield section, encoder.model, file, of_encoder(encoder, file.key)
