"""The images that changed sides, alarm or none: which those are, in what order, and a page of them alone.

What a normality costs comes first: the other defects that lost their alarm.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pandas as pd

from nand_core.errors import NandError
from nand_core.operating import effect_summary, effect_table
from nand_core.report.page import environment
from nand_core.report.panels import ANOMALY, SUPPRESSION, gradient
from nand_core.report.strips import PARTS, strip_name, strip_size

FOLDER = "changes"
"""Where the pictures lie, beside the page."""

LIMIT = 5000
"""Most images of one class and detector that a page shows."""

Side = Literal["lost", "accepted", "raised", "false", "cleared"]

SIDES: dict[Side, str] = {
    "lost": "lost alarm",
    "accepted": "passes",
    "raised": "new alarm",
    "false": "new false alarm",
    "cleared": "false alarm gone",
}
"""How an image changed sides, in the page's order.

``lost`` and ``accepted`` are defects whose alarm went, the second those of an added group; ``raised`` are any with an
alarm that they did not have; ``false`` and ``cleared`` are good images.
"""


@dataclass(frozen=True)
class Changed:
    """An image that changed sides for one detector.

    Attributes:
        id: its path in the data folder.
        kind: its group, or the type of an image that is in none; ``good``.
        side: a key of ``SIDES``.
        alarm_before: whether it raised an alarm; afterwards it does the opposite.
        width, height: of its strip.
    """

    detector: str
    class_name: str
    id: str
    kind: str
    side: Side
    score_before: float
    score_after: float
    threshold_before: float
    threshold_after: float
    alarm_before: bool
    width: int
    height: int

    @property
    def picture(self) -> str:
        """Address of its strip from the page's folder."""
        return quote(f"{FOLDER}/{folder_of(self.class_name, self.detector)}/{strip_name(self.id)}")

    @property
    def before(self) -> tuple[str, str]:
        """Score and threshold before."""
        return _apart(self.score_before, self.threshold_before)

    @property
    def after(self) -> tuple[str, str]:
        """Score and threshold afterwards."""
        return _apart(self.score_after, self.threshold_after)


def _apart(score: float, threshold: float) -> tuple[str, str]:
    """Both with three digits, or as many more as tell one from the other."""
    for digits in range(3, 18):
        shown = f"{score:.{digits}g}", f"{threshold:.{digits}g}"
        if shown[0] != shown[1] or score == threshold:
            break
    return shown


def folder_of(class_name: str, detector: str) -> str:
    """Where the strips of a class and detector lie below ``FOLDER``."""
    return f"{class_name}/{detector}"


def against(now: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """One class's rows of ``then`` with what holds ``now`` in place of nothing at all.

    Args:
        now: the class's rows of ``results/normalities.parquet``; empty where it has no normality.
        then: the same by other settings.

    Returns:
        Rows with the same columns, of the images that both have: an example is left out only as long as it is one.
    """
    if now.empty:
        return then
    names = ["detector", "id"]
    held = now[[*names, "score_after", "threshold_after", "alarm_after"]]
    held = held.rename(columns=lambda name: str(name).replace("_after", "_before"))
    found = then.drop(columns=["score_before", "threshold_before", "alarm_before"]).merge(held, on=names)
    return effect_table(found.assign(alarm_kept=found["score_after"] > found["threshold_before"]))


def changed(
    effect: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], longest: int, most: int = LIMIT
) -> list[Changed]:
    """The images whose alarm differs before and after: lost alarms first, then as in ``SIDES``, by kind and path.

    Args:
        effect: rows with the columns of ``results/normalities.parquet``.
        sizes: of at least these images by their paths, (width, height) in pixels.
        longest: side of a strip's parts (``report.panel``).
        most: of each class and detector, the first in this order.

    Raises:
        NandError: the size of an image is not known.
    """
    rows = effect[effect["alarm_before"] != effect["alarm_after"]]
    good, gone = rows["type"] == "good", rows["alarm_before"].astype(bool)
    side = np.select(
        [good & gone, good, gone & rows["added"].astype(bool), gone], ["cleared", "false", "accepted", "lost"], "raised"
    )
    order = {name: number for number, name in enumerate(SIDES)}
    rows = rows.assign(side=side, kind=rows["group"].where(rows["group"] != "", rows["type"]))
    rows = rows.assign(order=rows["side"].map(order)).sort_values(["order", "kind", "id", "class", "detector"])
    rows = rows.groupby(["class", "detector"]).head(most)
    return [_changed(row, sizes, longest) for row in rows.to_dict("records")]


def _changed(row: Mapping[Hashable, Any], sizes: Mapping[str, tuple[int, int]], longest: int) -> Changed:
    if row["id"] not in sizes:
        raise NandError(f"{row['id']}: not in the manifest; run the evaluate stage again")
    width, height = strip_size(sizes[row["id"]], longest)
    names = ("detector", "id", "kind", "side", "score_before", "score_after", "threshold_before", "threshold_after")
    return Changed(
        **{str(name): row[name] for name in names},
        class_name=row["class"],
        alarm_before=bool(row["alarm_before"]),
        width=width,
        height=height,
    )


def gallery(images: Sequence[Changed], effect: pd.DataFrame, prefix: str) -> dict[str, Any]:
    """What the template ``changes.html.j2`` shows of one class.

    Args:
        images: in their order.
        effect: the class's rows, which say how many changed sides in all.
        prefix: begins the names of its filters, to tell them from those of another class on the page.
    """
    total = int((effect["alarm_before"] != effect["alarm_after"]).sum())
    detectors = sorted({one.detector for one in images})
    # Good images last, as in the tables.
    kinds = sorted({one.kind for one in images}, key=lambda kind: (kind == "good", kind))
    numbers = {(of, name): n for of, names in (("d", detectors), ("k", kinds)) for n, name in enumerate(names)}
    return {
        "prefix": prefix,
        "total": total,
        "left_out": total - len(images),
        "images": [(one, f"d{numbers['d', one.detector]} k{numbers['k', one.kind]}") for one in images],
        "sides": [(side, sum(one.side == side for one in images)) for side in SIDES],
        "detectors": [(name, sum(one.detector == name for one in images)) for name in detectors],
        "kinds": [(kind, sum(one.kind == kind for one in images)) for kind in kinds],
    }


def shared() -> dict[str, Any]:
    """What every page with such pictures tells its template."""
    ramps = {"anomaly": gradient(ANOMALY), "suppression": gradient(SUPPRESSION)}
    return {"marks": SIDES, "parts": PARTS, "ramps": ramps}


def render_changes(
    title: str, lead: str, effect: pd.DataFrame, images: Sequence[Changed], notes: Sequence[str] = ()
) -> str:
    """A page of its own, as HTML: what a change does to each kind of image, and those that change sides.

    Its pictures are to lie beside it under ``FOLDER``. Every text in it is escaped.

    Args:
        title: such as "What 'loose fibre' would change".
        lead: a sentence below it.
        effect: rows with the columns of ``results/normalities.parquet``, one class's.
        images: of :func:`changed`.
        notes: paragraphs below the lead, such as the phrases.
    """
    summary = effect_summary(effect).to_dict("records") if len(effect) else []
    names = sorted(set(effect["detector"]))
    return (
        environment()
        .get_template("trial.html.j2")
        .render(
            title=title,
            lead=lead,
            notes=notes,
            detectors=[(name, [row for row in summary if row["detector"] == name]) for name in names],
            changes=gallery(images, effect, "changed"),
            **shared(),
        )
    )
