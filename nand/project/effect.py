"""What adding or removing a normality changed, image by image."""

from __future__ import annotations

from pathlib import PurePosixPath

import pandas as pd

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


def comparable(before: pd.DataFrame, after: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the images that are counted both times: examples are left out as long as they are some."""
    if len(before) and len(after):
        return before[before["id"].isin(after["id"])], after[after["id"].isin(before["id"])]
    return before, after


def named(rows: pd.DataFrame, chosen: pd.Series) -> str:
    """``all 12 of hole, thread 000 001``: the chosen images by kind, a few of each."""
    parts = []
    for kind, images in rows[chosen].groupby("kind")["id"]:
        stems = [PurePosixPath(image).stem for image in sorted(images)]
        more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
        whole = len(stems) == (rows["kind"] == kind).sum()
        parts.append(f"all {len(stems)} of {kind}" if whole else f"{kind} {' '.join(stems[:SHOWN])}{more}")
    return ", ".join(parts)
