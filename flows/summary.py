"""What a run leaves in Prefect: verdicts and figures, what changed since the last run, the report's link."""

from __future__ import annotations

import socket
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from flows.record import read_run
from flows.run import RESULTS, STATE
from nand_core.artifacts.disk import replacing
from nand_core.operating import DECIDED
from nand_core.report.tables import markdown_table

LAST = STATE / "last_results.parquet"
ROW = ["detector", "class", "group"]
FIGURES = [*DECIDED, "auroc_before", "auroc_after"]
COMPARED = ["verdict", *FIGURES]
MOST = 40
"""Changed rows that an artifact lists."""


def publish_summary(version: str, report: str = "") -> None:
    """Artifacts ``nightly-table`` and ``nightly-report`` of the results that are there now.

    Args:
        version: what the results were made from, in words.
        report: address of the report; empty: it is told where the file lies and how to get it.
    """
    now = compared(pd.read_parquet(RESULTS / "auroc.parquet"), pd.read_parquet(RESULTS / "operating.parquet"))
    before = pd.read_parquet(LAST) if LAST.exists() else None
    parts = [
        f"{version}\n",
        (RESULTS / "tables/summary.md").read_text(encoding="utf-8"),
        "## Since the last run\n",
        changed_rows(before, now),
        "## Work\n",
        computed_items(),
    ]
    create_markdown_artifact("\n".join(parts), key="nightly-table", description="Verdicts, and means in percent")
    if report:
        create_link_artifact(report, link_text="report", key="nightly-report")
    else:  # a file's address would open on this machine alone
        create_markdown_artifact(where_the_report_is(), key="nightly-report", description="Where the report is")
    with replacing(LAST) as temporary:
        now.to_parquet(temporary, index=False)


def where_the_report_is() -> str:
    """For a report without an address, as Markdown."""
    path = (RESULTS / "report/index.html").resolve()
    return (
        f"On `{socket.gethostname()}`: `{path}`.\n\n"
        "On another machine, where the run was committed and pushed: `git pull && dvc pull results/report` in a clone, "
        "then `results/report/index.html`.\n\n"
        "A link stands here when the parameter `report` gives the address at which the folder is served.\n"
    )


def compared(auroc: pd.DataFrame, operating: pd.DataFrame) -> pd.DataFrame:
    """What is compared from run to run: ``COMPARED`` of each detector, class and group."""
    return auroc.merge(operating, on=ROW, validate="one_to_one")[[*ROW, *COMPARED]]


def changed_rows(before: pd.DataFrame | None, now: pd.DataFrame) -> str:
    """The rows of two tables as :func:`compared` gives them that differ, as Markdown: other verdicts first."""
    if before is None:
        return "There was none.\n"
    both = before.merge(now, on=ROW, how="outer", suffixes=("_then", "_now"))
    found = {name: _differs(both, name) for name in COMPARED}
    different = both[pd.DataFrame(found).any(axis=1)]
    if different.empty:
        return "Every figure is the same.\n"
    ordered = different.assign(same=~found["verdict"]).sort_values(["same", *ROW])
    more = f"\nand {len(ordered) - MOST} more rows\n" if len(ordered) > MOST else ""
    rows = (
        [*(row[name] for name in ROW), *(_told(row, when) for when in ("then", "now"))]
        for row in ordered.head(MOST).to_dict("records")
    )
    return markdown_table([*ROW, "then", "now"], rows, text_columns=5) + more


def _differs(both: pd.DataFrame, name: str) -> pd.Series:
    """Where a column is another one now; what is unknown both times is the same."""
    then, now = both[f"{name}_then"], both[f"{name}_now"]
    return ~((then == now) | (then.isna() & now.isna()))


def _told(row: Mapping[Hashable, Any], when: str) -> str:
    """A group's verdict and figures; a dash where there was no such row, or nothing to know."""
    if pd.isna(row[f"verdict_{when}"]):
        return "-"
    figures = {name: row[f"{name}_{when}"] for name in FIGURES}
    said = (
        "{verdict}: accepted {accepted_before:.0f} → {accepted_after:.0f} %, "
        "retained {retained_before:.0f} → {retained_after:.0f} %, lost {lost:.1f} %, "
        "AUROC {auroc_before:.1f} → {auroc_after:.1f}"
    ).format(verdict=row[f"verdict_{when}"], **figures)
    return said.replace("nan", "–")


def computed_items() -> str:
    """What the last run computed, from ``.nand/last_run.json``, as Markdown."""
    rows = (
        [name, counts["items"], counts["executed"], f"{counts['seconds']:.1f}"]
        for name, counts in read_run(STATE)["stages"].items()
    )
    return markdown_table(["stage", "items", "computed", "seconds"], rows, text_columns=1)
