"""Types of the deployments' parameters, of which Prefect refuses other values before a run is made; names of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from prefect.runtime import flow_run
from pydantic import Field, GetJsonSchemaHandler

from flows.run import MANIFEST
from nand_core.config import load_params
from nand_core.errors import NandError

PARAMS = Path("params.yaml")

Name = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=100)]
"""Of a remote or tag; may be empty. It names no path and cannot be taken for an option."""


@dataclass(frozen=True)
class _Listed:
    """Prefect's form shows a list, and its API takes nothing else, where the names are known."""

    known: Callable[[], list[str]]

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        return schema | {"enum": names} if (names := self.known()) else schema


def known_classes() -> list[str]:
    """The data set's, by the manifest or else by the settings; empty where they are not known yet."""
    try:
        return sorted(set(pd.read_parquet(MANIFEST, columns=["class"])["class"]))
    except (OSError, ValueError):  # there was no run yet
        pass
    try:
        dataset = load_params(PARAMS).dataset
    except NandError:
        return []
    from nand_core.datasets.demo.photograph import MATERIALS

    return sorted(dataset.classes or (MATERIALS if dataset.kind == "demo" else ()))


def known_detectors() -> list[str]:
    """The settings', and "" for the first of them."""
    try:
        return ["", *load_params(PARAMS).detectors]
    except NandError:
        return []


ClassName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+$", min_length=1, max_length=100), _Listed(known_classes)]
"""A class of the data set; it names no path."""

DetectorName = Annotated[str, _Listed(known_detectors)]
"""A detector of the settings; may be empty."""

Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$", min_length=1, max_length=200)]
"""A text or phrase, one line."""

Address = Annotated[str, Field(pattern="^(https?://|$)")]
"""Of a page; may be empty."""

Hours = Annotated[float, Field(gt=0, le=168)]

Seconds = Annotated[float, Field(ge=0, le=3600)]


def at_its_time() -> str:
    """A scheduled run's name, such as ``nightly 2026-11-24 02:00``."""
    return f"{flow_run.flow_name} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M}"
