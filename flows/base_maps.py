"""Anomaly maps of one detector for every class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.detector import DetectorItems
from flows.run import ARTIFACTS, Run
from tasks.base_maps import MapsSpec
from tasks.base_maps import base_maps as draw_maps


def base_maps(detector: str, params: str = "params.yaml") -> None:
    """Write ``artifacts/base_maps/<detector>/<class>.npz``."""
    run = Run.start(f"base_maps@{detector}", Path(params))
    items = DetectorItems.of(run, detector)
    states: dict[str, Any] = {"state": items.states()} if items.kind.trained else {}
    records = run.items(draw_maps, items.specs(MapsSpec, "test", **states))
    with run.writing():
        run.work.store.materialise(
            {f"{name}.npz": record for name, record in records.items()}, ARTIFACTS / "base_maps" / detector
        )
    run.finish()
