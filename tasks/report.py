"""The report's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from nand_core.artifacts.store import Record
from nand_core.report import ReportInputs, render_report
from nand_core.settings import EvaluationSettings, ReportSettings
from tasks.cache import Spec, item
from tasks.work import Work


class ReportSpec(Spec):
    """Everything that the page shows, by content."""

    unkeyed: ClassVar = frozenset({"artifacts", "results"})

    artifacts: Path
    results: Path
    files: dict[str, str]
    templates: dict[str, str]
    dataset_kind: str
    facts: dict[str, str]
    notes: tuple[str, ...]
    unknown_words: dict[str, tuple[str, ...]]
    evaluation: EvaluationSettings
    settings: ReportSettings


@item
def report(spec: ReportSpec, work: Work) -> Record:
    """``{relative path: text}`` of the page, the tables and the plots' data, as JSON."""
    inputs = ReportInputs.read(
        spec.artifacts,
        spec.results,
        work.root,
        dataset_kind=spec.dataset_kind,
        evaluation=spec.evaluation,
        facts=spec.facts,
        notes=spec.notes,
        unknown_words={tuple(name.split("/", 1)): words for name, words in spec.unknown_words.items()},
    )
    return work.store.put(json.dumps(render_report(inputs, spec.settings)).encode(), "json")
