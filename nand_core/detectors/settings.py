"""What a params file can say about detectors; loads neither torch nor a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from nand_core.prompts.templates import NORMAL_STATES, checked_pattern
from nand_core.settings import MOST_FLOAT, Block, Combine, Seed, Settings, Side
from nand_core.vlm.settings import EncoderSettings

WINCLIP_ABNORMAL = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
# One template stands twice in the released list, and so weighs double.
WINCLIP_TEMPLATES = (
    "a cropped photo of the {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of the {}.",
    "a dark photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of the {}.",
    "a blurry photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for anomaly detection.",
    "a photo of a {} for anomaly detection.",
)


Pattern = Annotated[str, AfterValidator(checked_pattern)]


class AprilGanSettings(Settings):
    """APRIL-GAN, zero-shot.

    Attributes:
        combine: over the layers; the published sum gives maps in [0, number of layers].
        size: side of the map in pixels; null: the encoder's image size, as published.
        score: an image's score before suppression. ``map``: the map's maximum, as in the NAND paper.
            ``class_token``: the published program's image score; every map is scaled to have it as its maximum,
            so that suppression (Eq. 6) lowers it by the share by which it lowers the map's peak.
    """

    kind: Literal["april_gan"] = "april_gan"
    combine: Combine = "sum"
    size: Side | None = None
    score: Literal["map", "class_token"] = "map"


class PatchSettings(Settings):
    """What the detectors that compare patches share: where the features come from, and how the map is smoothed.

    Attributes:
        backbone: ``encoder`` (the shared encoder's blocks), ``timm:NAME.TAG``, ``torchvision:NAME.WEIGHTS`` or
            ``open_clip:NAME.TAG`` (its image tower).
        weights: path of the backbone's weights; null: the library fetches those it knows.
        sha256: expected digest of ``weights``.
        layers: for ``encoder`` some of the encoder's block numbers, null for all but its last, the nearest to the
            texts; for open_clip's towers and timm's transformers 1-based block numbers, null for the ends of the
            second and the third quarter (6 and 9 of 12); else module names, null for layer2 and layer3. The first
            one's grid is the map's.
        resize: side in pixels to which images are resized for a backbone of its own, without keeping the aspect.
        crop: side of the centre crop after that; null for none. Outside the crop maps are zero.
        sigma: of the Gaussian that smooths the map, in its pixels; 0 is off.
        device: auto, cpu, cuda or cuda:N.
    """

    kind: str
    backbone: str = Field("encoder", pattern=r"^(encoder|timm:.+|torchvision:.+\..+|open_clip:.+)$")
    weights: str | None = None
    sha256: str | None = None
    layers: tuple[Block | str, ...] | None = Field(None, min_length=1)
    resize: Side = 256
    crop: Side | None = 224
    sigma: float = Field(4.0, ge=0, le=256)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:(0|[1-9]\d?))?)$")

    @model_validator(mode="after")
    def _consistent(self) -> PatchSettings:
        numbers = tuple(layer for layer in self.layers or () if isinstance(layer, int))
        # Whether a network of timm is a transformer is known when it is loaded.
        if self.library == "timm":
            if numbers not in ((), self.layers):
                raise ValueError(
                    f"layers of {self.backbone} are either block numbers (of a transformer) or module names, not both"
                )
        elif len(numbers) != (0 if self.library == "torchvision" else len(self.layers or ())):
            kind = "module names" if self.library == "torchvision" else "block numbers"
            raise ValueError(f"layers of {self.backbone} are {kind}")
        if self.library != "encoder" and list(numbers) != sorted(set(numbers)):
            raise ValueError(
                f"layers of {self.backbone} are 1-based block numbers in ascending order, e.g. [6, 9]"
            )
        if self.library == "open_clip" and "." not in self.network and self.weights is None:
            raise ValueError(f"{self.backbone} needs weights; name a tag, open_clip:NAME.TAG, or a file in weights")
        if self.backbone == "encoder" and self.weights is not None:
            raise ValueError("weights belong to a backbone of its own; name it, or leave weights out")
        if self.sha256 is not None and self.weights is None:
            raise ValueError("sha256 is that of the file named in weights; name the file, or leave sha256 out")
        if self.crop is not None and self.crop > self.resize:
            raise ValueError("crop must not be larger than resize")
        return self

    @property
    def library(self) -> str:
        """``encoder``, or where the backbone comes from: timm, torchvision or open_clip."""
        return self.backbone.partition(":")[0]

    @property
    def network(self) -> str:
        """The backbone's name in its library, with the tag of its weights."""
        return self.backbone.partition(":")[2]


class PatchCoreSettings(PatchSettings):
    """PatchCore.

    Attributes:
        variant: whose numbers to follow, the published program's or anomalib's: how a 3x3 neighbourhood becomes
            a vector, how the coreset is projected and started, how a map is up-sampled and smoothed.
        dimensions: of a patch's vector (published variant).
        coreset: share of the patches kept.
        patches: most patches that the coreset is chosen from, a seeded sample where the good images have more: memory
            and time do not grow with them any further. By default all of those of any class of MVTec AD are taken.
        distance: in the map; the published program has the square of L2. Suppression multiplies the map, so the
            two rank differently.
        seed: of the projection and the coreset's start.
    """

    kind: Literal["patchcore"] = "patchcore"
    variant: Literal["published", "anomalib"] = "anomalib"
    dimensions: int = Field(1024, gt=0, le=1 << 16)
    coreset: float = Field(0.1, gt=0, le=1)
    patches: int = Field(320_000, ge=1, le=1 << 30)
    distance: Literal["l2", "squared"] = "l2"
    seed: Seed = 0


class SubspaceSettings(PatchSettings):
    """Distance to the principal subspace of the good patches.

    Attributes:
        variance: share of the good patches' variance that the subspace holds; the rest counts as noise. The nearer
            to 1, the more directions are normal.
    """

    kind: Literal["subspace"] = "subspace"
    variance: float = Field(0.99, gt=0, lt=1)


class WinCLIPSettings(Settings):
    """WinCLIP (shots = 0) and WinCLIP+ (shots > 0).

    Attributes:
        shots: number of good reference images, the first of a seeded shuffle of the class's training images.
        scales: sides of the windows, in patches.
        temperature: of the softmax.
        normal_states, abnormal_states, templates: the prompt ensemble; every state goes into every template. ``{}``
            stands in a state for the object, and in a template for the state.
        seed: of the shuffle.
        encoder: an encoder of its own, published: ViT-B-16-plus-240 with laion400m_e31; null: the shared one.
    """

    kind: Literal["winclip"] = "winclip"
    shots: int = Field(0, ge=0, le=1000)
    scales: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field((2, 3), min_length=1, max_length=16)
    temperature: float = Field(0.07, ge=1e-6, le=100)
    normal_states: tuple[Pattern, ...] = Field(NORMAL_STATES, min_length=1)
    abnormal_states: tuple[Pattern, ...] = Field(WINCLIP_ABNORMAL, min_length=1)
    templates: tuple[Pattern, ...] = Field(WINCLIP_TEMPLATES, min_length=1)
    seed: Seed = 0
    encoder: EncoderSettings | None = None

    @field_validator("scales")
    @classmethod
    def _once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a scale stands there twice; remove one")
        return value

    @field_validator("encoder")
    @classmethod
    def _one_grid(cls, value: EncoderSettings | None) -> EncoderSettings | None:
        if value is not None and value.tiles is not None:
            raise ValueError("tiles are those of the section encoder, for every detector; leave them out here")
        return value


class ExternalSettings(Settings):
    """Saved anomaly maps. A map covers the whole image, in one scale for all images, in any size.

    Attributes:
        maps: a folder with an .npy or a float .tiff for every test image under the image's path in the data
            folder; or an .npz a class (``{class}`` stands for it) with ``maps`` (n, H, W) and ``ids`` (n,), the
            images' paths. There must be exactly the test images' maps.
        offset: added to every map, for detectors whose maps can be negative.
    """

    kind: Literal["external"] = "external"
    maps: str
    offset: float = Field(0.0, ge=-MOST_FLOAT, le=MOST_FLOAT)


class PluginSettings(Settings):
    """A detector that an installed package offers in the entry-point group ``nand.detectors``.

    Attributes:
        name: of the entry point; it is a callable (options, context) -> Detector.
        options: handed to it as they are. The content of a file that one names is part of the cache key
            (``{class}`` in it stands for the class).
    """

    kind: Literal["plugin"] = "plugin"
    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("name the entry point")
        return value


DetectorSettings = Annotated[
    AprilGanSettings | PatchCoreSettings | SubspaceSettings | WinCLIPSettings | ExternalSettings | PluginSettings,
    Field(discriminator="kind"),
]


def detector_encoder(settings: DetectorSettings, shared: EncoderSettings) -> EncoderSettings:
    """The encoder that ``Context.vlm`` must give to this detector: one of its own, or the shared one."""
    return getattr(settings, "encoder", None) or shared
