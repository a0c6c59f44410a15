"""Which encoder to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nand_core.settings import Block, Seed, Settings, Side

EMBEDDED = Path(__file__).parent / "embedded"
IMAGENET = Path(__file__).parent / "imagenet"
PAIRED = Path(__file__).parent / "paired"
SHIPPED = {"embedded": EMBEDDED, "efficientnet_lite0": IMAGENET, "efficientnet_lite0+embedded": PAIRED}
"""Models that need no file beside the installed packages; of a pair the first is compared, the second understands."""
HEADS = {
    "embedded": EMBEDDED / "linear.safetensors",
    "efficientnet_lite0": IMAGENET / "head.safetensors",
    "efficientnet_lite0+embedded": EMBEDDED / "linear.safetensors",
}

FileKey = Literal["config", "pretrained", "text", "text_config", "linear_layers", "vocabulary"]
"""The role of a file that an encoder is made of."""


class AdaptSettings(Settings):
    """How heads are learned for a class: from defects drawn on its good training images, and from drawn scenes.

    Attributes:
        pictures: drawn of each of the two kinds.
        steps: of the optimiser, for each layer.
        seed: of everything random in it.
    """

    pictures: int = Field(2400, ge=1, le=100_000)
    steps: int = Field(1500, ge=1, le=100_000)
    seed: Seed = 0


class TileSettings(Settings):
    """Large images are looked at tile by tile (``nand_core.tiles``): by the encoder, and by detectors' own networks.

    Attributes:
        size: side of a tile in pixels of the image.
        overlap: of two neighbours in pixels, at least; a defect up to this size lies in some tile as a whole.
    """

    size: int = Field(512, ge=16, le=1 << 14)
    overlap: int = Field(64, ge=0, le=1 << 13)

    @model_validator(mode="after")
    def _moving(self) -> TileSettings:
        if self.overlap > self.size // 2:
            raise ValueError("overlap must be at most half of size")
        return self


Centre = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False, exclude_if=lambda share: share == 0)]
"""No part of any key where nothing is taken off."""
Tiles = Annotated[TileSettings | None, Field(exclude_if=lambda tiles: tiles is None)]
"""No part of any key where images are looked at as a whole."""


class EncoderSettings(Settings):
    """An open_clip model and the linear layers that bring its patch tokens into the joint space.

    Attributes:
        model: ``embedded``; ``efficientnet_lite0``, whose features were learned from photographs;
            ``efficientnet_lite0+embedded``, both: patches are compared by the first one's features, texts are asked of
            the second; an open_clip model name; or the path of an open_clip config (.json).
        pretrained: an open_clip tag, or the path of a weights file; null for the first three.
        linear_layers: path of an APRIL-GAN checkpoint; null: the embedded model's own, else none
            (enough for WinCLIP, PatchCore and the subspace, not for normality detection).
        sha256: expected digests by file: config, pretrained, text, text_config, linear_layers, vocabulary.
        image_size: side of the square input in pixels; null: the model's own.
        layers: 1-based blocks whose tokens are used; null: the config's, else the ends of the four quarters
            of the tower (6, 12, 18, 24 of ViT-L). For open_clip's ResNets block 1 is the stem.
        logit_scale: factor on the cosines; null: the config's, else 100.
        precision: of the towers; ``auto`` is fp32 on a CPU and bf16 on a GPU. Logits are always float32.
        device: auto, cpu, cuda or cuda:N.
        batch_size: images encoded at a time.
        adapt: learn heads for each class in place of ``linear_layers``; null: no. An empty section ({}) takes the
            defaults: minutes a class on two cores, once.
        centre: how much of what a class's good patches have in common is taken off a patch before it is compared with a
            text (``nand_core.adaptation.centre``); 0: nothing.
        tiles: cut images that are larger than a tile; null: every image is looked at as a whole. An empty section
            ({}) takes the defaults.
    """

    model: str = "embedded"
    pretrained: str | None = None
    linear_layers: str | None = None
    sha256: dict[FileKey, str] = Field(default_factory=dict)
    image_size: Side | None = None
    layers: tuple[Block, ...] | None = None
    logit_scale: float | None = Field(None, gt=0, le=10_000)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:(0|[1-9]\d?))?)$")
    batch_size: int = Field(16, gt=0, le=4096)
    adapt: AdaptSettings | None = None
    centre: Centre = 0.0
    tiles: Tiles = None

    @field_validator("layers")
    @classmethod
    def _ascending(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or value[0] < 1 or list(value) != sorted(set(value))):
            raise ValueError("layers are 1-based block numbers in ascending order, e.g. [6, 12, 18, 24]")
        return value

    @property
    def by_class(self) -> bool:
        """Whether each class has heads of its own (``artifacts/heads``)."""
        return self.adapt is not None or self.centre > 0

    @property
    def config_path(self) -> Path | None:
        """The JSON config, or None for a model that open_clip knows by name."""
        if self.model in SHIPPED:
            return SHIPPED[self.model] / "config.json"
        return Path(self.model) if self.model.endswith(".json") else None

    def anchored(self, folder: Path) -> EncoderSettings:
        """The same with the files that lie below ``folder`` named from the current folder."""
        named = {name: getattr(self, name) for name in ("model", "pretrained", "linear_layers")}
        below = {name: str(folder / value) for name, value in named.items() if value and (folder / value).is_file()}
        return self.model_copy(update=below)
