"""All settings of a run: one validated model of ``params.yaml``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nand_core.datasets.settings import SPLITS, DatasetSettings
from nand_core.detectors.settings import DetectorSettings
from nand_core.errors import NandError, nearest
from nand_core.normalities import Groups, current, known_groups
from nand_core.prompts.settings import PromptSettings
from nand_core.settings import ANY, EvaluationSettings, ReportSettings, RunSettings, Settings, SuppressionSection
from nand_core.vlm.settings import EncoderSettings
from nand_core.yaml12 import YAMLError, is_plain_text, load, merge_mark

if TYPE_CHECKING:
    import pandas as pd
    from pydantic_core import ErrorDetails


class Params(Settings):
    """``params.yaml``, one section a stage."""

    model_config = ConfigDict(hide_input_in_errors=True)

    dataset: DatasetSettings
    encoder: EncoderSettings = EncoderSettings()
    prompts: PromptSettings = PromptSettings()
    detectors: dict[str, DetectorSettings] = Field(min_length=1)
    suppression: SuppressionSection = SuppressionSection()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()
    run: RunSettings = RunSettings()

    @field_validator("detectors")
    @classmethod
    def _file_names(cls, detectors: dict[str, DetectorSettings]) -> dict[str, DetectorSettings]:
        for name in detectors:
            if not re.fullmatch("[a-z0-9_]+", name):
                raise ValueError(f"name {name!r} must consist of a-z, 0-9 and _; files are called after it")
            if not is_plain_text(name):
                raise ValueError(f"name {name!r} is no text to YAML, and DVC names a stage by it; choose another")
            if name == "summary":
                raise ValueError("name 'summary' belongs to the report's table of all detectors; choose another")
        return detectors


def load_params(path: Path) -> Params:
    """Read and validate a params file.

    Raises
    ------
    NandError
        Naming the file, the key, its value and the nearest known name.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        values = load(text)
    except FileNotFoundError as error:
        raise NandError(f"{path}: not found; copy one of profiles/*.yaml to it") from error
    except OSError as error:
        raise NandError(f"{path}: not readable ({error.strerror})") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise NandError(f"{path}: not readable as YAML ({_yaml_problem(error, text)})") from None
    if not isinstance(values, dict):
        raise NandError(f"{path}: expected sections such as 'dataset:', found {type(values).__name__}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, values) for problem in error.errors(include_url=False)]
        raise NandError(f"{path}: " + "; ".join(lines)) from error


def _yaml_problem(error: YAMLError | UnicodeDecodeError, text: str) -> str:
    if marked := merge_mark(text):
        return f"line {marked}: git's mark of a merge that is not finished; choose a side, and take the marks out"
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if problem is None or mark is None:
        return " ".join(str(error).split())
    # A duplicate key comes with both values, one of which may be a secret.
    return f"line {mark.line + 1}: {problem.partition(' with value ')[0]}"


def _explain(problem: ErrorDetails, values: Any) -> str:
    where = ".".join(_written(problem["loc"], values))
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where!r}{nearest(str(problem['loc'][-1]), _siblings(problem['loc'][:-1]))}"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = [kind.strip(" '") for kind in problem["ctx"].get("expected_tags", "").split(",")]
        kinds = kinds if kinds != [""] else _kinds()
        given = problem["ctx"].get("tag", "none")
        return f"{where}: unknown detector kind {given!r}{nearest(given, kinds)}"
    value = problem["input"]
    # Whoever mistakes the place of the chat server's key must not find it in a log.
    hidden = isinstance(value, dict | list) or problem["type"] == "missing" or "openai" in problem["loc"][:2]
    if not hidden and problem["type"] == "string_type" and isinstance(value, bool | int | float | datetime.date):
        return f"{where}: a text is expected, and YAML takes this one for {value!r}; put it in quotes"
    return f"{where}: {problem['msg']}" + ("" if hidden else f" (got {value!r})")


def _written(loc: Sequence[Any], values: Any) -> list[str]:
    """The keys of a place that stand in the file: between them pydantic puts which of several models it took."""
    kept, tags = [], {*_kinds(), *SPLITS}
    for part in loc:
        there = isinstance(values, Mapping) and part in values
        if part == ANY or (part in tags and not there):
            continue
        kept.append(str(part))
        inside = there or (isinstance(values, Sequence) and isinstance(part, int) and part < len(values))
        values = values[part] if inside else None
    return kept


def _kinds() -> list[str]:
    (settings,) = _alternatives(Params.model_fields["detectors"].annotation)
    return [kind.model_fields["kind"].default for kind in _alternatives(get_args(settings)[1])]


def _siblings(loc: Iterable[Any]) -> list[str]:
    """Names of the fields of the model that lies at ``loc``."""
    found: list[Any] = [Params]
    for part in loc:
        tagged = [model for model in found if len(found) > 1 and _fields(model).get("kind", Field()).default == part]
        below = [_fields(known)[part].annotation for known in found if part in _fields(known)]
        below += [get_args(known)[1] for known in found if get_origin(known) is dict]
        found = tagged or [known for annotation in below for known in _alternatives(annotation)] or found
    return sorted({name for model in found for name in _fields(model)})


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union; any other annotation alone."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [known for member in get_args(annotation) for known in _alternatives(member)]
    return [annotation]


def _fields(annotation: Any) -> dict[str, Any]:
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}


def check_names(params: Params, manifest: pd.DataFrame) -> None:
    """:func:`check_groups` with those of a manifest."""
    check_groups(params, known_groups(manifest))


def check_groups(params: Params, classes: Groups) -> None:
    """Refuse normalities of classes, phrases for classes or texts, and thresholds of detectors, that there are not.

    Raises
    ------
    NandError
        Naming the unknown detector, class or group and the nearest known one.
    """
    added = {(made.class_name, made.text) for made in current(params.prompts, classes)}
    for name, groups in params.prompts.explicit.items():
        if name not in classes:
            raise NandError(f"prompts.explicit: unknown class {name!r}{nearest(name, classes)}")
        known = {*classes[name], *(text for of, text in added if of == name)}
        for group in groups:
            if group not in known:
                raise NandError(f"prompts.explicit.{name}: unknown group {group!r}{nearest(group, known)}")
    for detector, numbers in (params.evaluation.threshold or {}).items():
        if detector not in params.detectors:
            near = nearest(detector, params.detectors)
            raise NandError(f"evaluation.threshold: unknown detector {detector!r}{near}")
        for name in sorted(numbers.keys() - {ANY, *classes}):
            raise NandError(f"evaluation.threshold.{detector}: unknown class {name!r}{nearest(name, classes)}")
