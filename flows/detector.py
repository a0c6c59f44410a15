"""One detector's items: what they are made of, and its states fitted on the good images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flows.features import class_heads, class_shards, text_vectors
from flows.run import Run
from nand_core.artifacts.store import Record
from nand_core.detectors.base import Context, Detector
from nand_core.detectors.build import build_detector, detector_digest
from nand_core.detectors.settings import DetectorSettings, detector_encoder
from nand_core.errors import NandError, nearest
from tasks.base_maps import DetectorSpec, fit_detector, fitted
from tasks.encoder import encoder_key, shared_encoder
from tasks.image_features import Shard

Made = TypeVar("Made", bound=DetectorSpec)


@dataclass(frozen=True)
class DetectorItems:
    """The specs of one detector's items, class by class."""

    run: Run
    detector: str
    settings: DetectorSettings
    kind: Detector
    text: dict[tuple[str, str, str], tuple[float, ...]]
    encoder: dict[str, Any]
    heads: dict[str, Record]

    @classmethod
    def of(cls, run: Run, detector: str) -> DetectorItems:
        """The detector that the settings know by this name; NandError for an unknown one."""
        known = run.params.detectors
        if detector not in known:
            raise NandError(f"detectors: unknown detector {detector!r}{nearest(detector, known)}")
        settings = known[detector]
        kind = build_detector(detector, settings, Context("", partial(shared_encoder, run.work), lambda: ()))
        text = text_vectors() if "text" in kind.needs else {}
        used = kind.needs & {"features", "vlm"}
        encoder = encoder_key(detector_encoder(settings, run.params.encoder)) if used else {}
        heads = class_heads(run) if "heads" in kind.needs else {}
        return cls(run, detector, settings, kind, text, encoder, heads)

    def specs(
        self, of: type[Made], split: str, class_name: str | None = None, **values: Mapping[str, Any]
    ) -> dict[str, Made]:
        """A spec for every class, or for the one named; ``values`` are further fields, class by class."""
        encoded, whole = "features" in self.kind.needs, self.settings.kind == "external"
        shards = class_shards(self.run, split, encoded, class_name, whole)
        return {
            name: self._spec(of, name, parts, **{key: by_class[name] for key, by_class in values.items()})
            for name, parts in shards.items()
        }

    def states(self) -> dict[str, Record]:
        """What the detector learned of every class."""
        return self.run.items(fit_detector, self.specs(DetectorSpec, "train"))

    def fitted(self, class_name: str) -> Detector:
        """The detector of one class, its state out of the cache."""
        if not self.kind.trained:
            return fitted(self._spec(DetectorSpec, class_name, ()), None, self.run.work)
        specs = self.specs(DetectorSpec, "train", class_name)
        return fitted(specs[class_name], self.run.items(fit_detector, specs)[class_name], self.run.work)

    def _spec(self, of: type[Made], class_name: str, shards: tuple[Shard, ...], **values: Any) -> Made:
        return of(
            detector=self.detector,
            class_name=class_name,
            settings=self.settings.model_dump(mode="json"),
            shards=shards,
            text=tuple(self.text[class_name, "", kind] for kind in ("nor", "abn")) if self.text else (),
            encoder=self.encoder,
            heads=self.heads.get(class_name),
            files=detector_digest(self.settings, class_name, [path for part in shards for path in part.ids]),
            **values,
        )
