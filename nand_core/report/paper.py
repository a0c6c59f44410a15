"""The paper's numbers (Tables 2 and 3), where a run can be compared with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources

import pandas as pd

Pair = tuple[float, float]


@dataclass(frozen=True)
class PaperNumbers:
    """AUROC before and after in percent; empty where the run has no counterpart in the paper."""

    groups: dict[tuple[str, str, str], Pair] = field(default_factory=dict)
    detectors: dict[str, Pair] = field(default_factory=dict)


def paper_numbers(dataset_kind: str, auroc: pd.DataFrame) -> PaperNumbers:
    """The numbers beside which a run may be put.

    A group's number is shown if the run has that group; a detector's mean only if the run has exactly the
    paper's groups, as a mean over others would be another figure.
    """
    if dataset_kind != "mvtec_ad":
        return PaperNumbers()
    groups = _read("table2_april_gan.csv", "class", "group")
    detectors = _read("table3_detectors.csv", "detector")
    run = set(auroc[["detector", "class", "group"]].itertuples(index=False, name=None))
    shown = {("april_gan", c, g): pair for (c, g), pair in groups.items()}
    return PaperNumbers(
        groups={key: pair for key, pair in shown.items() if key in run},
        detectors={
            detector: pair
            for (detector,), pair in detectors.items()
            if {(c, g) for d, c, g in run if d == detector} == set(groups)
        },
    )


def _read(name: str, *keys: str) -> dict[tuple[str, ...], Pair]:
    """AUROC before and after, by the columns ``keys``."""
    with resources.files("nand_core.report").joinpath("paper", name).open() as file:
        rows = pd.read_csv(file).to_dict("records")
    return {tuple(row[key] for key in keys): (row["auroc_before"], row["auroc_after"]) for row in rows}
