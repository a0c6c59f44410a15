"""What a run leaves in Prefect: the table before and after, what changed since the last run, the report's link."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from flows.record import read_run
from flows.run import RESULTS, STATE
from nand_core.artifacts.disk import replacing
from nand_core.report.tables import markdown_table

AUROC = RESULTS / "auroc.parquet"
LAST_AUROC = STATE / "last_auroc.parquet"
ROW = ["detector", "class", "group"]
MOST = 40
"""Changed rows that an artifact lists."""


def publish_summary(version: str, report: str = "") -> None:
    """Artifacts ``nightly-table`` and ``nightly-report`` of the results that are there now.

    Args:
        version: what the results were made from, in words.
        report: where the report can be read; empty: its file.
    """
    now = pd.read_parquet(AUROC)
    before = pd.read_parquet(LAST_AUROC) if LAST_AUROC.exists() else None
    parts = [
        f"{version}\n",
        (RESULTS / "tables/summary.md").read_text(encoding="utf-8"),
        "## Since the last run\n",
        changed_rows(before, now),
        "## Work\n",
        computed_items(),
    ]
    create_markdown_artifact("\n".join(parts), key="nightly-table", description="AUROC before and after, in percent")
    link = report or (RESULTS / "report/index.html").resolve().as_uri()
    create_link_artifact(link, link_text="report", key="nightly-report")
    with replacing(LAST_AUROC) as temporary:
        shutil.copyfile(AUROC, temporary)


def changed_rows(before: pd.DataFrame | None, now: pd.DataFrame) -> str:
    """The rows of two AUROC tables that differ, as Markdown."""
    if before is None:
        return "There was none.\n"
    columns = ["auroc_before", "auroc_after"]
    both = before[ROW + columns].merge(now[ROW + columns], on=ROW, how="outer", suffixes=("_then", "_now"))
    old, new = (both[[f"{column}_{when}" for column in columns]].to_numpy() for when in ("then", "now"))
    different = both[~(old == new).all(axis=1)]
    if different.empty:
        return "Every figure is the same.\n"
    more = f"\nand {len(different) - MOST} more rows\n" if len(different) > MOST else ""
    rows = (
        [*(row[name] for name in ROW), *(_pair(row, when) for when in ("then", "now"))]
        for row in different.head(MOST).to_dict("records")
    )
    return markdown_table([*ROW, "before, after: then", "now"], rows, text_columns=3) + more


def _pair(row: Mapping[Hashable, Any], when: str) -> str:
    before, after = row[f"auroc_before_{when}"], row[f"auroc_after_{when}"]
    return "-" if pd.isna(before) else f"{before:.1f}, {after:.1f}"


def computed_items() -> str:
    """What the last run computed, from ``.nand/last_run.json``, as Markdown."""
    rows = (
        [name, counts["items"], counts["executed"], f"{counts['seconds']:.1f}"]
        for name, counts in read_run(STATE)["stages"].items()
    )
    return markdown_table(["stage", "items", "computed", "seconds"], rows, text_columns=1)
