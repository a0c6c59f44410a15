"""The report's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pandas as pd

from nand_core.artifacts.store import Record
from nand_core.artifacts.verified import verified
from nand_core.datasets.images import read_image
from nand_core.report import ReportInputs, render_report
from nand_core.report.changes import Changed
from nand_core.report.inputs import read_json
from nand_core.report.normalities import PAGE, Described, ShownImage, render_normalities
from nand_core.report.panels import photo
from nand_core.settings import EvaluationSettings, ReportSettings, Settings
from tasks.cache import Bits, Spec, item
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
        spec.files,
        dataset_kind=spec.dataset_kind,
        evaluation=spec.evaluation,
        facts=spec.facts,
        notes=spec.notes,
        unknown_words={tuple(name.split("/", 1)): words for name, words in spec.unknown_words.items()},
    )
    return work.store.put(json.dumps(render_report(inputs, spec.settings)).encode(), "json")


class HeldExample(Settings):
    """An example as the page shows it; its file is named after its content."""

    path: Path
    box: tuple[int, int, int, int] | None = None
    mask: bool = False


class Held(Settings):
    """A normality as its page shows it: the place and digest of its prompt set, what of it is unknown, its examples.

    Without a prompt set where it is examples alone.
    """

    class_name: str
    text: str
    group: str
    path: Path | None = None
    sha256: str = ""
    unknown: tuple[str, ...] = ()
    like: tuple[HeldExample, ...] = ()
    unlike: tuple[HeldExample, ...] = ()


class NormalitiesSpec(Spec):
    """What the page of the normalities shows, by content.

    ``changed`` are the images whose pictures lie beside it, ``fixed`` detector and class of fixed thresholds.
    """

    unkeyed: ClassVar = frozenset({"effect_path"})

    held: tuple[Held, ...]
    effect: str
    effect_path: Path
    changed: tuple[Changed, ...] = ()
    templates: dict[str, str]
    false_alarm: float
    fixed: tuple[tuple[str, str], ...] = ()
    panel: int
    quality: int
    bits: Bits = None


@item
def normalities_page(spec: NormalitiesSpec, work: Work) -> Record:
    """``{relative path: text}`` of the page, as JSON."""
    def pictures(shown: tuple[HeldExample, ...]) -> list[ShownImage]:
        read = ((one, read_image(one.path, bits=spec.bits)) for one in shown)
        return [
            ShownImage(one.path.name[17:], photo(picture, spec.panel, spec.quality), one.box) for one, picture in read
        ]

    held = [
        Described(
            one.class_name,
            one.text,
            one.group,
            read_json(one.path, one.sha256) if one.path else None,
            one.unknown,
            pictures(one.like),
            pictures(one.unlike),
        )
        for one in spec.held
    ]
    effect = pd.read_parquet(verified(spec.effect_path, spec.effect))
    page = render_normalities(held, effect, spec.false_alarm, spec.fixed, changed=spec.changed)
    return work.store.put(json.dumps({PAGE: page}).encode(), "json")
