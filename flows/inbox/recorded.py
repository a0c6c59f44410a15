"""Whether dvc.lock says that the results were made with other settings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.inbox.current import FIRST
from nand_core.config import Params
from nand_core.detectors.settings import DetectorSettings
from nand_core.errors import NandError
from nand_core.settings import EvaluationSettings, SuppressionSection
from nand_core.vlm.settings import EncoderSettings

RESULTS = ("results/normalities.parquet", "results/operating.parquet")
WHERE = {"device", "batch_size"}
"""Settings that say where to compute, not what."""


def check_recorded(params: Params, detector: str, lock: Path) -> None:
    """Refuse results whose scores or thresholds come from other settings than ``params``.

    Where ``lock`` is missing or not of these results, a run without DVC made them, and nothing is refused.

    Raises
    ------
    NandError
        Naming the section that differs.
    """
    try:
        stages = YAML(typ="safe").load(lock)["stages"]
        evaluate, maps, suppression = (stages[name] for name in ("evaluate", f"base_maps@{detector}", "suppression"))
        written = {out["path"]: out["md5"] for out in evaluate["outs"]}
        root = lock.parent
        if any(
            hashlib.md5((root / path).read_bytes(), usedforsecurity=False).hexdigest() != written[path]
            for path in RESULTS
        ):
            return
        recorded = {**evaluate["params"]["params.yaml"], **suppression["params"]["params.yaml"]}
        recorded |= maps["params"]["params.yaml"]
        read = {dep["path"]: dep["md5"] for dep in evaluate["deps"]}
        # A run in between: maps are drawn anew, the results are yet to be.
        drawn = {out["path"]: out["md5"] for out in suppression["outs"]}
        if read["artifacts/suppression"] != drawn["artifacts/suppression"]:
            raise NandError(f"results: older than artifacts/suppression; {FIRST}")
    except (OSError, YAMLError, LookupError, TypeError):
        return
    sections: tuple[tuple[str, Any, BaseModel, dict[str, Any]], ...] = (
        ("encoder", EncoderSettings, params.encoder, {"exclude": WHERE}),
        (f"detectors.{detector}", DetectorSettings, params.detectors[detector], {"exclude": WHERE}),
        ("suppression", SuppressionSection, params.suppression, {}),
        ("evaluation", EvaluationSettings, params.evaluation, {"include": {"alpha", "regions"}}),
    )
    for name, kind, now, options in sections:
        if _read(kind, recorded.get(name), options) != now.model_dump(**options):
            raise NandError(f"params.yaml: {name} is not that of the results; {FIRST}")


def _read(kind: Any, values: Any, options: dict[str, Any]) -> dict[str, Any] | None:
    try:
        settings: BaseModel = TypeAdapter(kind).validate_python(values or {})
    except ValidationError:
        return None
    return settings.model_dump(**options)
