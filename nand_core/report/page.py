"""The page: what it says of each detector, class and group, handed to the template."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from nand_core.example_protocol import example_means
from nand_core.operating import operating_means
from nand_core.protocol import WORSE, aggregate, class_table, share
from nand_core.report.gallery import Gallery
from nand_core.report.inputs import ReportInputs
from nand_core.report.panels import ANOMALY, SUPPRESSION, gradient
from nand_core.report.paper import Pair, paper_numbers
from nand_core.settings import ReportSettings

EDGE = 2.5  # percent of a chart's width kept free on both sides, so that no dot is cut off


@dataclass(frozen=True)
class Axis:
    """An AUROC axis from ``low`` to 100 over the width of a chart, which is in percent of its cell."""

    low: int

    @classmethod
    def over(cls, auroc: pd.DataFrame) -> Axis:
        lowest = np.nanmin(auroc[["auroc_before", "auroc_after", "auroc_bound"]].to_numpy())  # a bound may be nan
        return cls(min(90, int(lowest // 10) * 10))

    @property
    def ticks(self) -> list[int]:
        step = 10 if self.low >= 60 else 20 if self.low >= 20 else 25
        return list(range(100, self.low - 1, -step))[::-1]

    def x(self, value: float) -> float:
        share = (min(100.0, max(self.low, value)) - self.low) / (100 - self.low)
        return round(EDGE + share * (100 - 2 * EDGE), 2)


@dataclass(frozen=True)
class Row:
    """The figures of a group, a class or a detector, in percent; ``wrong`` is a group's best wrong text."""

    name: str
    before: float
    after: float
    bound: float = math.nan
    text_effect: float = math.nan
    wrong: str = ""
    paper: Pair | None = None
    interval: Pair | None = None
    n_normal: int = 0
    n_abnormal: int = 0
    accepted: Pair | None = None
    retained: Pair | None = None

    @property
    def gain(self) -> float:
        return self.after - self.before

    @property
    def share(self) -> float:
        return share(self.before, self.after, self.bound)

    @property
    def verdict(self) -> str:
        return "worse" if self.gain < WORSE else "better" if self.gain > -WORSE else "same"


def render_page(inputs: ReportInputs, settings: ReportSettings) -> str:
    """The whole page as HTML; every name and text in it is escaped."""
    auroc = inputs.auroc.sort_values(["detector", "class", "group"])
    detectors = _detectors(inputs, auroc)
    template = environment().get_template("page.html.j2")
    return template.render(
        title=settings.title,
        facts=inputs.facts,
        notes=inputs.notes,
        evaluation=inputs.evaluation,
        operating=inputs.operating is not None,
        worse=-WORSE,
        axis=Axis.over(auroc),
        detectors=detectors,
        some_fixed=any(d["fixed"] for d in detectors),
        all_fixed=all(len(d["fixed"]) == len(d["classes"]) for d in detectors),
        by_example=_examples(inputs.examples),
        against_paper=any(d["mean"].paper for d in detectors),
        prompts=_prompts(inputs),
        gallery=_gallery(inputs, settings, auroc, detectors) if settings.gallery else [],
        ramps={"anomaly": gradient(ANOMALY), "suppression": gradient(SUPPRESSION)},
    )


def _detectors(inputs: ReportInputs, auroc: pd.DataFrame) -> list[dict[str, Any]]:
    paper, figures, means = paper_numbers(inputs.dataset_kind, auroc), aggregate(auroc), class_table(auroc)
    points = _Points(inputs.operating)
    found = []
    for detector, table in auroc.groupby("detector"):
        name = str(detector)
        groups = {
            key: [_group_row(name, r, paper.groups, points) for r in rows.to_dict("records")]
            for key, rows in table.groupby("class")
        }
        classes: list[dict[str, Any]] = [
            {
                "mean": _mean_row(r["class"], r, **points.rates(name, r["class"])),
                "groups": groups[r["class"]],
            }
            for r in means[means["detector"] == name].to_dict("records")
        ]
        verdicts = [row.verdict for c in classes for row in c["groups"]]
        mean = _mean_row(name, figures[name], paper=paper.detectors.get(name))
        found.append(
            {
                "name": name,
                "mean": mean,
                "counts": {verdict: verdicts.count(verdict) for verdict in ("better", "same", "worse")},
                "classes": classes,
                "point": points.means(name),
                "fixed": [c for c in groups if inputs.evaluation.for_(name, str(c)).fixed is not None],
                "against_paper": any(row.paper for c in classes for row in c["groups"]),
            }
        )
    return found


class _Points:
    """The operating points by detector, class and group; empty where the run has none."""

    def __init__(self, operating: pd.DataFrame | None) -> None:
        self.table = None if operating is None else operating.set_index(["detector", "class", "group"]).sort_index()
        self.detectors = None if operating is None else operating_means(operating).to_dict("index")

    def rates(self, *key: str) -> dict[str, Any]:
        """``accepted`` and ``retained`` before and after, of a group, or the mean over those of a class."""
        if self.table is None:
            return {}
        rows = self.table.loc[[key]] if len(key) == 3 else self.table.loc[key, :]
        return _pairs(rows.mean(numeric_only=True).to_dict(), "accepted", "retained")

    def means(self, detector: str) -> dict[str, Any]:
        """The same and ``false_alarms`` of a detector, and these at the threshold from before the addition."""
        if self.detectors is None:
            return {}
        row = self.detectors[detector]
        kept = {f"{name}_kept": float(row[f"{name}_kept"]) for name in ("accepted", "retained", "false_alarms")}
        return _pairs(row, "accepted", "retained", "false_alarms") | kept


def _pairs(row: Mapping[Hashable, Any], *names: str) -> dict[str, Any]:
    return {name: (float(row[f"{name}_before"]), float(row[f"{name}_after"])) for name in names}


def _mean_row(name: str, figures: Mapping[Any, Any], **more: Any) -> Row:
    """Of a class or a detector, from ``class_table`` or ``aggregate``."""
    before, after, bound, effect = (
        math.nan if figures[key] is None else figures[key]
        for key in ("auroc_before", "auroc_after", "auroc_bound", "text_effect")
    )
    return Row(name, before, after, bound, effect, **more)


def _group_row(
    detector: str, r: Mapping[Hashable, Any], paper: Mapping[tuple[str, str, str], Pair], points: _Points
) -> Row:
    return Row(
        r["group"],
        r["auroc_before"],
        r["auroc_after"],
        r["auroc_bound"],
        r["auroc_after"] - r["auroc_wrong"],
        r["wrong"],
        paper.get((detector, r["class"], r["group"])),
        (r["gain_low"], r["gain_high"]),
        r["n_normal"],
        r["n_abnormal"],
        **points.rates(detector, r["class"], r["group"]),
    )


def _examples(table: pd.DataFrame | None) -> list[dict[Hashable, Any]]:
    """A row for each detector and number of images shown."""
    if table is None or table.empty:
        return []
    return [
        {
            **row,
            "accepted": (row["accepted_before"], row["accepted_after"]),
            "retained": (row["retained_before"], row["retained_after"]),
        }
        for row in example_means(table).to_dict("records")
    ]


def _prompts(inputs: ReportInputs) -> list[dict[str, Any]]:
    sets = sorted(inputs.prompts, key=lambda p: (p["class"], p["group"]))
    return [
        {
            "class": p["class"],
            "group": p["group"],
            "phrases": p["phrases"],
            "source": " · ".join(str(p[key]) for key in ("provider", "model") if p.get(key)),
            "unknown": inputs.unknown_words.get((p["class"], p["group"]), ()),
        }
        for p in sets
    ]


def _gallery(
    inputs: ReportInputs, settings: ReportSettings, auroc: pd.DataFrame, detectors: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    gallery = Gallery(inputs, settings)
    rows = {
        (d["name"], c["mean"].name, g.name): g for d in detectors for c in d["classes"] for g in c["groups"]
    }
    found = []
    for class_name, group in sorted(set(zip(auroc["class"], auroc["group"], strict=True))):
        blocks = []
        for detector in detectors:
            if row := rows.get((detector["name"], class_name, group)):
                changed, spoiled = gallery.examples(detector["name"], class_name, group)
                blocks.append({"name": detector["name"], "row": row, "changed": changed, "spoiled": spoiled})
        found.append({"class": class_name, "group": group, "detectors": blocks})
    return found


def environment() -> Environment:
    """The templates of the report's pages, with their filters."""
    environment = Environment(
        loader=PackageLoader("nand_core.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "signed": _signed, "score": _score, "share": _share}
    environment.tests["known"] = math.isfinite
    return environment


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _signed(value: float) -> str:
    """With a sign and a true minus; what rounds to nothing has neither."""
    if math.isnan(value):
        return "–"
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _score(value: float) -> str:
    return f"{value:.3g}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}"
