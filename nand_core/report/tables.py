"""Markdown tables and the CSV files behind the plots."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from nand_core.example_protocol import example_means
from nand_core.operating import decisions
from nand_core.protocol import aggregate, share
from nand_core.verdict import in_words

AUROC = ("AUROC before", "after", "gain", "bound", "share %", "text effect")
DECISION = ("verdict", "accepted %", "retained %", "lost %")


def markdown_tables(auroc: pd.DataFrame, level: float, operating: pd.DataFrame | None = None) -> dict[str, str]:
    """``{"summary.md": ..., "<detector>.md": ...}`` with AUROC in percent to one decimal.

    With the ``operating`` table, verdicts and what they were made of come first.
    """
    rows = _with_gain(auroc)
    header = [*AUROC, "best wrong text", f"{level:g} % interval of the gain"]
    if operating is not None:
        rows = rows.merge(operating, on=["detector", "class", "group"], how="left", validate="one_to_one")
        header = [*DECISION, *header, "false alarms %"]
    tables = {
        f"{detector}.md": markdown_table(
            ["class", "group", *header],
            (
                [r["class"], r["group"]]
                + ([r["verdict"], *_decision(r)] if operating is not None else [])
                + [*_figures(r), f"{r['wrong']} {_number(r['auroc_wrong'])}"]
                + [f"{_signed(r['gain_low'])} to {_signed(r['gain_high'])}"]
                + ([_change(r, "false_alarms")] if operating is not None else [])
                for r in found.to_dict("records")
            ),
            text_columns=2 if operating is None else 3,
        )
        for detector, found in rows.groupby("detector")
    }
    return tables | {"summary.md": _summary(auroc, operating)}


def _summary(auroc: pd.DataFrame, operating: pd.DataFrame | None) -> str:
    """A row for each detector: how many groups were judged how, and means."""
    figures = aggregate(auroc)
    if operating is None:
        rows = ([detector, *_figures(f), f["groups"], f["groups_worse"]] for detector, f in figures.items())
        return markdown_table(["detector", *AUROC, "groups", "groups worse"], rows, text_columns=1)
    decided = decisions(operating)
    return markdown_table(
        ["detector", *DECISION, *AUROC],
        (
            [detector, in_words(decided[detector]["verdict"]), *_decision(decided[detector]), *_figures(f)]
            for detector, f in figures.items()
        ),
        text_columns=2,
    )


def plot_tables(auroc: pd.DataFrame) -> dict[str, str]:
    """CSV files for plots: all rows in ``auroc.csv`` and each detector's in ``gain/<detector>.csv``.

    Columns detector, class_group, before, after, gain; to four decimals. A bar chart needs the detectors
    apart, because DVC's templates draw rows with one label on top of each other.
    """
    rows = _with_gain(auroc)
    frame = pd.DataFrame(
        {
            "detector": rows["detector"],
            "class_group": rows["class"] + "/" + rows["group"],
            "before": rows["auroc_before"],
            "after": rows["auroc_after"],
            "gain": rows["gain"],
        }
    )
    parts = {f"gain/{detector}.csv": part for detector, part in frame.groupby("detector")}
    return {name: _csv(part) for name, part in [("auroc.csv", frame), *parts.items()]}


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def _with_gain(auroc: pd.DataFrame) -> pd.DataFrame:
    rows = auroc.sort_values(["detector", "class", "group"])
    return rows.assign(
        gain=rows["auroc_after"] - rows["auroc_before"],
        share=list(map(share, rows["auroc_before"], rows["auroc_after"], rows["auroc_bound"])),
        text_effect=rows["auroc_after"] - rows["auroc_wrong"],
    )


def _decision(row: Mapping[Any, Any]) -> list[str]:
    """``DECISION`` of a group or a detector, without the verdict."""
    return [_change(row, "accepted"), _change(row, "retained"), _number(row["lost"])]


def _change(row: Mapping[Any, Any], rate: str) -> str:
    return " to ".join(_number(row[f"{rate}_{when}"], 0) for when in ("before", "after"))


def _figures(row: Mapping[Any, Any]) -> list[str]:
    """``AUROC`` of a group or a detector."""
    before, after, bound = (_number(row[f"auroc_{name}"]) for name in ("before", "after", "bound"))
    return [before, after, _signed(row["gain"]), bound, _number(row["share"], 0), _signed(row["text_effect"])]


def examples_table(examples: pd.DataFrame) -> str:
    """What showing some images of a group does, as Markdown: a row for each detector and number of images.

    Verdicts are counted over groups and draws.
    """
    header = [
        "detector", "images shown", "verdict of each draw", *DECISION[1:],
        "AUROC before", "after", "gain", "least and greatest draw", "bound", "share %", "text alone",
        "text and examples", "accepted, retained, lost % by both",
    ]  # fmt: skip
    rows = (
        [
            r["detector"],
            r["images"],
            in_words(r["verdict"]),
            *_decision(r),
            *map(_number, (r["auroc_before"], r["auroc_after"])),
            _signed(r["gain"]),
            f"{_signed(r['gain_low'])} to {_signed(r['gain_high'])}",
            _number(r["auroc_bound"]),
            _number(r["share"], 0),
            *map(_number, (r["auroc_text"], r["auroc_both"])),
            ", ".join([_number(r["accepted_both"], 0), _number(r["retained_both"], 0), _number(r["lost_both"])]),
        ]
        for r in example_means(examples).to_dict("records")
    )
    return markdown_table(header, rows, text_columns=1)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int) -> str:
    """A Markdown table; the first ``text_columns`` columns are set left, the numbers behind them right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    lines = [header, rule, *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    return html.escape(str(value), quote=False).replace("|", "\\|")


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{round(value, 1) + 0.0:+.1f}"
