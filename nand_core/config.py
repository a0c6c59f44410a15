"""All settings of a run: one validated model of ``params.yaml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML, YAMLError

from nand_core.datasets.settings import DatasetSettings
from nand_core.detectors import DetectorSettings
from nand_core.errors import NandError, nearest
from nand_core.normality import SuppressionSettings
from nand_core.prompts.settings import PromptSettings
from nand_core.protocol import EvaluationSettings
from nand_core.report import ReportSettings
from nand_core.settings import Settings
from nand_core.vlm.settings import EncoderSettings


class RunSettings(Settings):
    """How the work is spread; no result depends on it.

    Attributes:
        shard: most images encoded as one cached item.
    """

    shard: int = Field(32, ge=1, le=4096)


class Params(Settings):
    """``params.yaml``, one section a stage."""

    dataset: DatasetSettings
    encoder: EncoderSettings = EncoderSettings()
    prompts: PromptSettings = PromptSettings()
    detectors: dict[str, DetectorSettings] = Field(min_length=1)
    suppression: SuppressionSettings = SuppressionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()
    run: RunSettings = RunSettings()


def load_params(path: Path) -> Params:
    """Read and validate a params file.

    Raises
    ------
    NandError
        Naming the file, the key, its value and the nearest known name.
    """
    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NandError(f"{path}: not found; copy one of profiles/*.yaml to it") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise NandError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise NandError(f"{path}: expected sections such as 'dataset:', found {type(values).__name__}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors(include_url=False)]
        raise NandError(f"{path}: " + "; ".join(lines)) from error


def _explain(problem: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where!r}{nearest(str(problem['loc'][-1]), _siblings(problem['loc'][:-1]))}"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = [kind.strip(" '") for kind in problem["ctx"].get("expected_tags", "").split(",")]
        kinds = kinds if kinds != [""] else _kinds()
        given = problem["ctx"].get("tag", "none")
        return f"{where}: unknown detector kind {given!r}{nearest(given, kinds)}"
    value = problem["input"]
    shown = "" if isinstance(value, dict | list) or problem["type"] == "missing" else f" (got {value!r})"
    return f"{where}: {problem['msg']}{shown}"


def _kinds() -> list[str]:
    return [
        kind.model_fields["kind"].default for kind in _models(Params.model_fields["detectors"].annotation)
    ]


def _siblings(loc: Iterable[Any]) -> list[str]:
    """Names of the fields of the model that lies at ``loc``."""
    models: list[type[BaseModel]] = [Params]
    for part in loc:
        below = [
            m
            for model in models
            if part in model.model_fields
            for m in _models(model.model_fields[part].annotation)
        ]
        tagged = [m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == part]
        models = tagged or below or models
    return sorted({name for model in models for name in model.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def check_names(params: Params, manifest: pd.DataFrame) -> None:
    """Refuse phrases for classes or groups that the data set does not have.

    Raises
    ------
    NandError
        Naming the unknown class or group and the nearest known one.
    """
    classes = set(manifest["class"])
    for name, groups in params.prompts.explicit.items():
        if name not in classes:
            raise NandError(f"prompts.explicit: unknown class {name!r}{nearest(name, classes)}")
        known = set(manifest.loc[manifest["class"] == name, "group"]) - {""}
        for group in groups:
            if group not in known:
                raise NandError(f"prompts.explicit.{name}: unknown group {group!r}{nearest(group, known)}")
