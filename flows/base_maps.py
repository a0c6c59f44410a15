"""Anomaly maps of one detector for every class."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.features import class_shards, text_vectors
from flows.run import ARTIFACTS, Run
from nand_core.detectors.base import Context
from nand_core.detectors.build import build_detector, detector_digest
from nand_core.detectors.settings import detector_encoder
from nand_core.errors import NandError, nearest
from tasks.base_maps import DetectorSpec, MapsSpec, fit_detector
from tasks.base_maps import base_maps as draw_maps
from tasks.work import encoder_key


@flow(name="base_maps")
def base_maps(detector: str, params: str = "params.yaml") -> None:
    """Write ``artifacts/base_maps/<detector>/<class>.npz``."""
    run = Run.start(f"base_maps@{detector}", Path(params))
    if detector not in run.params.detectors:
        raise NandError(f"detectors: unknown detector {detector!r}{nearest(detector, run.params.detectors)}")
    settings = run.params.detectors[detector]
    kind = build_detector(detector, settings, Context("", run.work.vlm, lambda: ()))
    vectors = text_vectors() if "text" in kind.needs else {}
    encoder = encoder_key(detector_encoder(settings, run.params.encoder)) if kind.needs & {"features", "vlm"} else {}

    def specs(of: type, split: str, **state: dict) -> dict:
        shards = class_shards(run, split, encoded="features" in kind.needs)
        return {
            name: of(
                detector=detector,
                class_name=name,
                settings=settings.model_dump(mode="json"),
                shards=parts,
                text=tuple(vectors[name, "", kind] for kind in ("nor", "abn")) if vectors else (),
                encoder=encoder,
                files=detector_digest(settings, name, [path for part in parts for path in part.ids]),
                **{key: values[name] for key, values in state.items()},
            )
            for name, parts in shards.items()
        }

    states = {"state": run.items(fit_detector, specs(DetectorSpec, "train"))} if kind.trained else {}
    records = run.items(draw_maps, specs(MapsSpec, "test", **states))
    with run.writing():
        run.work.store.materialise(
            {f"{name}.npz": record for name, record in records.items()}, ARTIFACTS / "base_maps" / detector
        )
    run.finish()
