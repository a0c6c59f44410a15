"""Settings models that load neither torch nor a model: reading the params stays fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAP_SIZE = 256
"""Side in pixels of every stored map."""

Combine = Literal["mean", "sum", "max"]

ANY = ""
"""In place of a class's or detector's name: each of them."""

Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
"""What every generator of random numbers takes."""

MOST_FLOAT = 3e38
"""About the largest float32, what maps are stored as."""

Score = Annotated[float, Field(ge=0, le=MOST_FLOAT, allow_inf_nan=False)]
Block = Annotated[int, Field(ge=1, le=1000)]
"""Number of a network's block."""

Side = Annotated[int, Field(ge=1, le=4096)]
"""Of an image or a map in pixels."""


class Settings(BaseModel):
    """Frozen and validated; an unknown key is an error, and so is a number that is none or has no end."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SuppressionSettings(Settings):
    """How the layers' maps become a suppression map. The paper's setting: ``dilation=0, competing=False``.

    Attributes:
        combine: over the layers; the paper's sum is clipped to 1, a suppression map must lie in [0, 1].
        dilation: side of a maximum filter over the map, odd, in pixels of 256 x 256; 0 is off. Suppression
            maps are tighter than anomaly maps: without it a rim of anomaly can stay around the region.
        competing: let the class's other known groups, by their names, take part in the softmax; a dilated map
            leaves out what they claim.
        temperature: of the softmax, as a factor on the encoder's own; above 1 for an encoder that is surer than right.
        prior: weight of plain normality against each text. A suppression map matters where the detector sees
            something, and there plain normality is less likely than elsewhere; 1 is the paper's.
        deepest: how many of the encoder's layers are asked, counted from the last; null: all, as in the paper.
    """

    combine: Combine = "mean"
    dilation: int = Field(55, ge=0, lt=MAP_SIZE)
    competing: bool = True
    temperature: float = Field(1.0, gt=0, le=100)
    prior: float = Field(1.0, gt=0, le=1)
    deepest: Annotated[int | None, Field(ge=1, le=1000, exclude_if=lambda number: number is None)] = None

    @field_validator("dilation")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value and value % 2 == 0:
            raise ValueError("dilation must be odd, or 0 for none")
        return value


class ExampleSettings(Settings):
    """How accepted images become a suppression map.

    Attributes:
        bank: patches of a class's good images that an image is compared with.
        level: share of good patches that do not count as unusual; an example's patches above are what is meant.
        turns: take an example's reflections as well.
        patches: most patches of all examples of a normality together.
        none, whole: of 1 - d_ex / d_good: up to ``none`` nothing is suppressed, from ``whole`` on all; between them
            the share grows evenly. 0 and 1 leave min(d_good, d_ex) of PatchCore's map.
        meaning: what shows the same kinds of defect as the examples, by the encoder's texts, is suppressed as well: by
            its likeness to this power. Needs an encoder that understands texts. null: off.
        widen: side of a maximum filter over the map, odd, in patches; 1 is off.
        regions: let the patches of one unusual region vote: all of it is suppressed by its mean at least.
        images: most examples of a normality.
        seed: of the samples.
    """

    bank: int = Field(8192, ge=16, le=1 << 20)
    level: float = Field(0.995, gt=0, lt=1)
    turns: bool = True
    patches: int = Field(2048, ge=1, le=1 << 20)
    none: float = Field(0.2, ge=0, lt=1)
    whole: float = Field(0.6, gt=0, le=1)
    meaning: float | None = Field(None, ge=1, le=100)
    widen: int = Field(3, ge=1, lt=32)
    regions: bool = True
    images: int = Field(50, ge=1, le=1000)
    seed: Seed = 0

    @field_validator("widen")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("widen must be odd; 1 is off")
        return value

    @model_validator(mode="after")
    def _ascending(self) -> ExampleSettings:
        if self.none >= self.whole:
            raise ValueError("none must be below whole")
        return self


class SuppressionSection(SuppressionSettings):
    """How the suppression maps of texts, and with ``examples`` those of examples, are made."""

    examples: ExampleSettings = ExampleSettings()


class ExampleProtocol(Settings):
    """The protocol for normality by example: how many images of a group are shown, in how many draws.

    Attributes:
        images: k, the numbers of images; a group with fewer than k + 1 is left out of that k.
        draws: of the images of each group and k.
        seed: of the draws.
    """

    images: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field((1, 5, 10), min_length=1, max_length=100)
    draws: int = Field(3, ge=1, le=100)
    seed: Seed = 0

    @field_validator("images")
    @classmethod
    def _numbers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("images must be numbers in ascending order, such as [1, 5, 10]")
        return value


class RegionSettings(Settings):
    """When what is seen of a normality in an unusual region is enough to suppress it, as a whole.

    Attributes:
        none, whole: up to ``none`` the region stays as it is, from ``whole`` on it falls to the good level; between
            them the share grows evenly.
        alone: in the place of ``whole`` where no other text competes for the region.
    """

    none: float = Field(0.0, ge=0, lt=1)
    whole: float = Field(0.4, gt=0, le=1)
    alone: float = Field(0.7, gt=0, le=1)

    @model_validator(mode="after")
    def _ascending(self) -> RegionSettings:
        if self.none >= min(self.whole, self.alone):
            raise ValueError("none must be below whole and alone")
        return self


class Rule(Settings):
    """What a suppression map does to the maps of one detector on one class (``nand_core.decision``).

    Attributes:
        alpha: strength of the suppression, 0 to 1.
        regions: judge unusual regions as a whole; None: Eq. 6.
        level: the score of an ordinary good image, None where none is known: then Eq. 6 holds too.
    """

    alpha: float = Field(1.0, ge=0, le=1)
    regions: RegionSettings | None = RegionSettings()
    level: Annotated[float | None, Field(allow_inf_nan=True)] = None

    @property
    def regional(self) -> bool:
        """Whether regions are judged, and not every pixel by itself."""
        return self.regions is not None and self.level is not None and math.isfinite(self.level)


class EvaluationSettings(Settings):
    """How a normality addition is judged."""

    alpha: float = Field(1.0, ge=0, le=1, description="strength of the suppression, A * (1 - alpha * A_sup)")
    regions: RegionSettings | None = Field(
        RegionSettings(), description="judge unusual regions as a whole; null: every pixel by itself, Eq. 6"
    )
    bootstrap: int = Field(1000, ge=1, le=1_000_000, description="draws of the bootstrap over images")
    seed: Seed = Field(0, description="seed of the bootstrap and of the folds that set thresholds")
    level: float = Field(95.0, gt=0, lt=100, description="level of the interval in percent")
    false_alarm: float = Field(0.05, gt=0, lt=1, description="share of good images that may raise an alarm")
    lost_alarms: float = Field(
        0.01, ge=0, le=1, description="share of the other anomalies that a normality may cost their alarm"
    )
    examples: ExampleProtocol | None = Field(None, description="judge normality by example as well; null: do not")
    threshold: dict[str, dict[str, Score]] | None = Field(
        None, description="fixed thresholds, {DETECTOR: NUMBER} or {DETECTOR: {CLASS: NUMBER}}; null: from good images"
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _by_class(cls, value: Any) -> Any:
        """A detector's one number is that of any class."""
        if not isinstance(value, Mapping):
            return value
        return {name: one if isinstance(one, Mapping) else {ANY: one} for name, one in value.items()}

    def for_(self, detector: str, class_name: str) -> EvaluationSettings:
        """What judges one class of one detector: no other's threshold has an effect on it, nor have other tables."""
        fixed = self.threshold or {}
        of = fixed.get(detector, fixed.get(ANY, {}))
        number = of.get(class_name, of.get(ANY))
        threshold = None if number is None else {ANY: {ANY: number}}
        return self.model_copy(update={"examples": None, "threshold": threshold})

    @property
    def fixed(self) -> float | None:
        """The threshold that may not move; None: it is set on good images.

        Raises:
            ValueError: the settings are not those of one detector and class (:meth:`for_`).
        """
        if not self.threshold:
            return None
        if set(self.threshold) != {ANY} or set(self.threshold[ANY]) != {ANY}:
            raise ValueError("settings of one detector and class are needed: EvaluationSettings.for_")
        return self.threshold[ANY][ANY]

    def rule(self, level: float | None) -> Rule:
        """For a detector and class whose good images have this level."""
        return Rule(alpha=self.alpha, regions=self.regions, level=level)


class ReportSettings(Settings):
    """How much the page shows."""

    title: str = "Normality addition, before and after"
    gallery: int = Field(2, ge=0, le=50, description="images of each kind for each group and detector")
    panel: int = Field(144, ge=32, le=512, description="longest side of a panel in pixels")
    quality: int = Field(72, ge=1, le=100, description="WebP quality of the panels")


class RunSettings(Settings):
    """How the work is spread; no result depends on it.

    Attributes:
        shard: most images encoded as one cached item.
        runner: what runs the items: threads of one process, which share a loaded model, or the processes of a local
            Dask or Ray, which load one each.
        workers: items at once.
    """

    shard: int = Field(32, ge=1, le=4096)
    runner: Literal["threads", "dask", "ray"] = "threads"
    workers: int = Field(2, ge=1, le=256)
