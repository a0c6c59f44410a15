"""What a run leaves in Prefect: the table before and after, what changed since the last run, the report's link."""

from __future__ import annotations

import json
import shutil

import pandas as pd
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from flows.run import RESULTS, STATE
from nand_core.artifacts.disk import replacing

AUROC = RESULTS / "auroc.parquet"
SHOWN_LAST = STATE / "shown_auroc.parquet"
ROW = ["detector", "class", "group"]
MOST = 40
"""Changed rows that an artifact lists."""


def show(key: str, version: str, report: str = "") -> None:
    """Artifacts ``<key>-table`` and ``<key>-report`` of the results that are there now.

    Args:
        key: lower-case letters and dashes.
        version: what the results were made from, in words.
        report: where the report can be read; empty: its file.
    """
    now = pd.read_parquet(AUROC)
    before = pd.read_parquet(SHOWN_LAST) if SHOWN_LAST.exists() else None
    summary = json.loads((RESULTS / "metrics.json").read_text())
    parts = [f"{version}\n", means(summary), "## Since the last run\n", changes(before, now), "## Work\n", work()]
    create_markdown_artifact("\n".join(parts), key=f"{key}-table", description="AUROC before and after, in percent")
    link = report or (RESULTS / "report/index.html").resolve().as_uri()
    create_link_artifact(link, link_text="report", key=f"{key}-report")
    with replacing(SHOWN_LAST) as temporary:
        shutil.copyfile(AUROC, temporary)


def means(summary: dict) -> str:
    """``results/metrics.json`` as a Markdown table."""
    lines = ["| detector | before | after | gain | groups worse |", "|---|---:|---:|---:|---:|"]
    for name, row in summary.items():
        figures = f"{row['auroc_before']:.1f} | {row['auroc_after']:.1f} | {row['gain']:+.1f}"
        lines.append(f"| {name} | {figures} | {row['groups_worse']} of {row['groups']} |")
    return "\n".join(lines) + "\n"


def changes(before: pd.DataFrame | None, now: pd.DataFrame) -> str:
    """The rows of two AUROC tables that differ, as Markdown."""
    if before is None:
        return "There was none.\n"
    columns = ["auroc_before", "auroc_after"]
    both = before[ROW + columns].merge(now[ROW + columns], on=ROW, how="outer", suffixes=("_old", "_new"))
    old, new = both[[f"{c}_old" for c in columns]].to_numpy(), both[[f"{c}_new" for c in columns]].to_numpy()
    different = both[~((old == new).all(axis=1))]
    if different.empty:
        return "Every figure is the same.\n"
    lines = ["| detector | class | group | before, after: then | now |", "|---|---|---|---:|---:|"]
    for row in different.head(MOST).to_dict("records"):
        pairs = [_pair(row[f"auroc_before_{when}"], row[f"auroc_after_{when}"]) for when in ("old", "new")]
        lines.append(f"| {row['detector']} | {row['class']} | {row['group']} | {' | '.join(pairs)} |")
    if len(different) > MOST:
        lines.append(f"\nand {len(different) - MOST} more rows")
    return "\n".join(lines) + "\n"


def _pair(before: float, after: float) -> str:
    return "-" if pd.isna(before) else f"{before:.1f}, {after:.1f}"


def work() -> str:
    """What the last run computed, from ``.nand/last_run.json``, as Markdown."""
    lines = ["| stage | items | computed | seconds |", "|---|---:|---:|---:|"]
    for name, row in json.loads((STATE / "last_run.json").read_text())["stages"].items():
        lines.append(f"| {name} | {row['items']} | {row['executed']} | {row['seconds']:.1f} |")
    return "\n".join(lines) + "\n"
