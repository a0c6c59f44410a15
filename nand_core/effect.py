"""What adding or removing a normality changed, image by image: what ``nand add`` prints."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

SHOWN = 12
"""Images of one kind that a line names."""


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """One class's images with their alarms before and after a change of its normalities.

    Args:
        before, after: the class's rows of ``results/normalities.parquet`` from before and after the change; empty
            where it had no normality.

    Returns:
        Columns detector, id, kind, added (some of the class's normalities is this group), limit_before, limit_after,
        and the alarms before, after and kept: now, at the threshold from before.
    """
    rows = after if len(after) else before
    old, new = before.set_index(["detector", "id"]), after.set_index(["detector", "id"])
    found = rows.set_index(["detector", "id"])[["type", "group", "added"]].copy()
    found["kind"] = found["group"].where(found["group"] != "", found["type"])
    base = new if len(new) else old
    score_after = new["score_after"] if len(new) else base["score_before"]
    found["limit_before"] = old["threshold_after"] if len(old) else base["threshold_before"]
    found["limit_after"] = new["threshold_after"] if len(new) else base["threshold_before"]
    found["before"] = old["alarm_after"] if len(old) else base["alarm_before"]
    found["after"] = score_after > found["limit_after"]
    found["kept"] = score_after > found["limit_before"]
    return found.reset_index()


def show_effect(console: Console, before: pd.DataFrame, after: pd.DataFrame, added: bool) -> None:
    """Print :func:`changes`, a table for each detector and below it which images changed.

    ``added`` says whether the change was an addition: only then is there a threshold that could have been left alone.
    """
    for detector, rows in changes(before, after).groupby("detector"):
        anomalies = rows[rows["type"] != "good"]
        limits = anomalies if len(anomalies) else rows
        old, new = limits["limit_before"].iloc[0], limits["limit_after"].iloc[0]
        table = Table(title=f"{detector}: alarm above {old:.3g} before, above {new:.3g} now", title_justify="left")
        for name in ("images of", "images", "alarms before", "alarms now", *(["now, threshold kept"] * added)):
            table.add_column(name, justify="left" if name == "images of" else "right")
        order = np.where(rows["type"] == "good", 2, np.where(rows["added"], 0, 1))
        for (_, kind), part in rows.groupby([order, "kind"]):
            name = f"{kind} (normal now)" if part["added"].any() else str(kind)
            counts = [len(part), part["before"].sum(), part["after"].sum(), *([part["kept"].sum()] * added)]
            table.add_row(name, *map(str, counts))
        console.print(table)
        was, now = anomalies["before"], anomalies["after"]
        for what, chosen in (("pass now", was & ~now), ("still raise an alarm", was & now), ("new alarms", now & ~was)):
            if chosen.any():
                console.print(f"{what}: {named(anomalies, chosen)}", soft_wrap=True, highlight=False)


def named(rows: pd.DataFrame, chosen: pd.Series) -> str:
    """``all 12 of hole, thread 000 001``: the chosen images by kind, a few of each."""
    parts = []
    for kind, images in rows[chosen].groupby("kind")["id"]:
        stems = [PurePosixPath(image).stem for image in sorted(images)]
        more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
        whole = len(stems) == (rows["kind"] == kind).sum()
        parts.append(f"all {len(stems)} of {kind}" if whole else f"{kind} {' '.join(stems[:SHOWN])}{more}")
    return ", ".join(parts)
