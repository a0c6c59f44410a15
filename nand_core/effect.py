"""What adding or removing a normality changes, image by image: which pass now, and which alarms that costs."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import pandas as pd

from nand_core.errors import printable
from nand_core.settings import EvaluationSettings
from nand_core.verdict import NO_EFFECT, verdict

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
    """The rows of both tables whose images both have: examples are left out only as long as they are some."""
    if len(before) and len(after):
        return before[before["id"].isin(after["id"])], after[after["id"].isin(before["id"])]
    return before, after


def lost(rows: pd.DataFrame) -> pd.Series:
    """Which of the rows of :func:`changes` lose an alarm that nobody took back: of no added group, and not good.

    A free text is no group: whatever passes by it counts, until somebody says that it is meant.
    """
    return others(rows) & rows["before"] & ~rows["after"]


def others(rows: pd.DataFrame) -> pd.Series:
    """Which of the rows have to keep their alarm: anomalies of no added group."""
    return (rows["type"] != "good") & ~rows["added"]


def too_many_lost(rows: pd.DataFrame, limit: float) -> list[str]:
    """The detectors by which too large a share of the anomalies that have to keep their alarm lose it.

    Args:
        rows: of :func:`changes`.
        limit: the largest share that is not too large, 0 to 1 (``evaluation.lost_alarms``).
    """
    found = rows.assign(lost=lost(rows))[others(rows)].groupby("detector")["lost"].mean()
    return [str(name) for name in found.index[found > limit]]


def unchanged(rows: pd.DataFrame) -> bool:
    """Whether no image's alarm is another one."""
    return bool((rows["before"] == rows["after"]).all())


def controls(operating: pd.DataFrame, class_name: str, group: str) -> dict[str, float]:
    """Percent of a labelled group's images that pass with the best wrong text, by detector.

    Args:
        operating: ``results/operating.parquet``.
        class_name, group: of the group.
    """
    rows = operating[(operating["class"] == class_name) & (operating["group"] == group)]
    return dict(zip(rows["detector"], rows["accepted_wrong"], strict=True))


def in_words(rows: pd.DataFrame, group: str, settings: EvaluationSettings, accepted_wrong: float = math.nan) -> str:
    """What one detector's rows of :func:`changes` come to, in one line, the verdict on a labelled group first.

    Args:
        rows: of one detector.
        group: the labelled group that was added; "" for a free text: which images show that nobody has said.
        settings: the verdict's limits.
        accepted_wrong: of :func:`controls`; nan where the group is not told by its text alone.
    """
    if unchanged(rows):
        return "changes no image" if not group else f"{NO_EFFECT}: changes no image"
    own, kept, gone = rows[rows["group"] == group] if group else rows[:0], rows[others(rows)], rows[lost(rows)]
    parts = []
    if len(own):
        passed = int((~own["before"]).sum()), int((~own["after"]).sum()), len(own)
        found = verdict(
            passed, accepted_wrong, (len(gone), len(kept)), lost_alarms=settings.lost_alarms, level=settings.level
        )
        parts.append(f"{found}: {passed[1]} of {passed[2]} of {group} pass ({passed[0]} before)")
    lose = f"{len(gone)} of {len(kept)} other anomalies lose their alarm"
    parts.append(lose if len(gone) else "no other alarm is lost")
    good = rows[rows["type"] == "good"]
    if (was := int(good["before"].sum())) != (now := int(good["after"].sum())):
        parts.append(f"false alarms {was} to {now} of {len(good)}")
    return "; ".join(parts)


def named(rows: pd.DataFrame, chosen: pd.Series) -> str:
    """``all 12 of hole, thread 000 001``: the chosen images by kind, a few of each."""
    parts = []
    for kind, images in rows[chosen].groupby("kind")["id"]:
        stems = [printable(PurePosixPath(image).stem) for image in sorted(images)]
        more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
        whole = len(stems) == (rows["kind"] == kind).sum()
        parts.append(f"all {len(stems)} of {kind}" if whole else f"{kind} {' '.join(stems[:SHOWN])}{more}")
    return ", ".join(parts)
