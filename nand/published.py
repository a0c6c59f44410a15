"""Where published weight files come from, as far as the libraries' own tables and the authors' pages say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nand_core.detectors.settings import PatchSettings
from nand_core.vlm.settings import EncoderSettings

SEE_PAGE = "see the page"
HUB = "https://huggingface.co"
APRIL_GAN = "https://github.com/ByChelsea/VAND-APRIL-GAN"


@dataclass(frozen=True)
class Published:
    """A file that its makers offer.

    Attributes:
        page: says what it is.
        licence: its name, or where it is said.
        sha256: all 64 digits, or the first ones, as some name their files; "" where none is published, or only by the
            server that sends the file.
        url: of the file; "" for one of a repository.
        repository, file: on the Hugging Face hub, which sends a file's sha256 along.
    """

    page: str
    licence: str = SEE_PAGE
    sha256: str = ""
    url: str = ""
    repository: str = ""
    file: str = ""

    @property
    def digest(self) -> str:
        """What is known of its sha256, in words."""
        if self.sha256:
            return self.sha256 if len(self.sha256) == 64 else f"{self.sha256}..."
        return "by its server, with the file" if self.repository else "not published"


LINEAR_LAYERS = {
    name: Published(APRIL_GAN, "MIT", url=f"{APRIL_GAN}/raw/HEAD/exps/pretrained/{name}")
    for name in ("visa_pretrained.pth", "mvtec_pretrained.pth")
}


def of_encoder(settings: EncoderSettings, key: str) -> Published | None:
    """Where a file of the encoder comes from; None for one's own or what is shipped."""
    if key == "linear_layers":
        return LINEAR_LAYERS.get(PurePosixPath(settings.linear_layers or "").name)
    if key == "pretrained" and settings.pretrained and settings.config_path is None:
        return _of_tag(settings.model, settings.pretrained)
    return None


def of_backbone(settings: PatchSettings) -> Published | None:
    """Where the weights of a detector's own network come from; None for one's own file."""
    if settings.weights is not None and settings.library != "torchvision":
        return None
    if settings.library == "open_clip":
        return _of_tag(*settings.network.split(".", 1))
    if settings.library == "timm":
        return _of_timm(settings.network)
    return _of_torchvision(settings.network)


def _of_tag(model: str, tag: str) -> Published | None:
    import open_clip

    known = open_clip.get_pretrained_cfg(model, tag)
    repository, _, file = known.get("hf_hub", "").rpartition("/")
    if repository:
        licence = "MIT" if tag == "openai" or repository.startswith("laion/") else SEE_PAGE
        file = file or "open_clip_model.safetensors"
        return Published(f"{HUB}/{repository}", licence, repository=repository, file=file)
    return None


def _of_timm(name: str) -> Published | None:
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        return None
    page, licence = f"{HUB}/{known.hf_hub_id}", known.license or SEE_PAGE
    return Published(page, licence, repository=known.hf_hub_id, file="model.safetensors")


def _of_torchvision(name: str) -> Published:
    import torchvision

    architecture, _, tag = name.partition(".")
    url = torchvision.models.get_model_weights(architecture)[tag].url
    digits = re.search(r"-([0-9a-f]{8,64})$", Path(url).stem)
    return Published("https://pytorch.org/vision/stable/models.html", sha256=digits[1] if digits else "", url=url)
