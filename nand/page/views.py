"""What the templates show: tiles, counts, histograms and sentences that an operator reads."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nand.page.preview import Preview, agreement, lost_ids
from nand.page.snapshot import View
from nand_core.effect import controls, in_words
from nand_core.operating import effect_summary
from nand_core.report.changes import Changed, against, changed
from nand_core.report.panels import fitted
from nand_core.settings import EvaluationSettings

REJECTED, GOOD, ALL = "rejected", "good", "all"
PART = 120
"""Images that are sent at once."""
CHANGED = 48
"""Images that change sides which a preview shows."""
BINS = 44
WHEN = ("before", "after")
SIDE = 160
"""Longest side of a picture in a list, in pixels of the page."""

WORDS = {
    "other anomalies lose their alarm": "other faults would be let through",
    "no other alarm is lost": "no other fault is let through",
    "false alarms": "good images rejected:",
    "changes no image": "nothing changes for any image",
}
STATES = {
    "removed": "taken back",
    "by nand ": "by this page or nand ",
    r" by (\d+)$": r" by number \1",
}
SIDES = {
    "lost": "let through",
    "accepted": "passes",
    "raised": "newly rejected",
    "false": "good, newly rejected",
    "cleared": "good, passes again",
}


@dataclass(frozen=True)
class Tile:
    """An image in a list.

    Attributes:
        key: 16 digits of its content; its pictures' address.
        number: its place among the class's test images.
        says: how it scores, in words.
        tone: what it is to a line: rejected, passes, or kept out of the count.
        width, height: of its picture in a list, so that nothing moves when it comes.
    """

    key: str
    number: int
    name: str
    kind: str
    says: str
    tone: str
    width: int
    height: int


def times(score: float, limit: float) -> str:
    """A score beside its limit: ``1.8 × the limit``, with as many digits as tell it from the limit itself."""
    if not math.isfinite(limit) or limit <= 0:
        return f"score {score:.3g}"
    for digits in range(1, 5):
        said = f"{score / limit:.{digits}f}"
        if float(said) != 1 or score == limit:
            break
    return f"{said} × the limit"


def tile(row: Any, name: str) -> Tile:
    """Of a row of :meth:`View.state`."""
    tone = "rejected" if row.rejected else "passes" if row.counted else "example"
    says = times(row.score, row.limit) if row.counted else "shown as fine, not counted"
    return _made(row, name, says, tone)


def _made(row: Any, name: str, says: str, tone: str) -> Tile:
    size = fitted((int(row.width), int(row.height)), SIDE)
    return Tile(str(row.key), int(row.number), name, str(row.kind), says, tone, *size)


def shown(state: pd.DataFrame, show: str) -> pd.DataFrame:
    """The rows of a list, the highest score first."""
    kept = {REJECTED: state["rejected"], GOOD: state["good"], ALL: state["counted"] | True}.get(
        show, state["kind"] == show
    )
    return state[kept].sort_values(["score", "number"], ascending=[False, True], kind="stable")


def lists(state: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(value, label, count) of every list: rejected, each kind of fault, good ones, all."""
    kinds = sorted(set(state.loc[~state["good"], "kind"]))
    return [
        (REJECTED, "Rejected", int(state["rejected"].sum())),
        *((kind, kind, int((state["kind"] == kind).sum())) for kind in kinds),
        (GOOD, "Good", int(state["good"].sum())),
        (ALL, "All", len(state)),
    ]


def tiles(state: pd.DataFrame, show: str, start: int) -> tuple[list[Tile], int]:
    """A part of a list, and where the next one begins; 0 where there is none."""
    rows = shown(state, show)
    part = rows.iloc[start : start + PART]
    found = [tile(row, str(row.Index)) for row in part.itertuples()]
    return found, start + PART if start + PART < len(rows) else 0


def summary(view: View) -> dict[str, Any]:
    """A class in the list of all: what is fine there, and what the first detector rejects."""
    detector = view.snapshot.detectors[0]
    state = view.state(detector)
    good = state["good"]
    worst = shown(state, REJECTED).head(4)
    return {
        "name": view.name,
        "fine": [one.text for one in view.held],
        "images": len(state),
        "rejected": int(state["rejected"].sum()),
        "faults": int((~good).sum()),
        "good": int(good.sum()),
        "false": int((state["rejected"] & good).sum()),
        "tiles": [tile(row, str(row.Index)) for row in worst.itertuples()],
    }


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram, in the units of its picture."""

    x: float
    width: float
    good: float
    faults: float
    says: str


@dataclass(frozen=True)
class Histogram:
    """Scores of the good images and of the faults, with the limit; 100 wide, heights in percent of the highest bar."""

    bars: tuple[Bar, ...]
    limit: float
    says: str


def histograms(rows: pd.DataFrame, limits: tuple[float, float]) -> tuple[Histogram, Histogram]:
    """The scores before and after on one scale.

    Args:
        rows: of one detector, with the columns of ``results/normalities.parquet``.
        limits: those that judge the faults. A good image is judged by the limit of the others.
    """
    good = (rows["type"] == "good").to_numpy()
    pairs = [(rows[f"score_{when}"].to_numpy(), limit) for when, limit in zip(WHEN, limits, strict=True)]
    finite = [limit for limit in limits if math.isfinite(limit)]
    top = max(float(max(values.max() for values, _ in pairs)), *finite, 1e-12) * 1.02
    edges = np.linspace(0, top, BINS + 1)
    counts = [(np.histogram(v[good], edges)[0], np.histogram(v[~good], edges)[0]) for v, _ in pairs]
    most = max(1, *(int((ok + bad).max()) for ok, bad in counts))
    found = []
    for when, (_, limit), (ok, bad) in zip(WHEN, pairs, counts, strict=True):
        bars = tuple(
            Bar(
                round(100 * i / BINS, 2),
                round(100 / BINS * 0.86, 2),
                round(100 * float(ok[i]) / most, 2),
                round(100 * float(bad[i]) / most, 2),
                f"{edges[i]:.3g} to {edges[i + 1]:.3g}: {bad[i]} faults, {ok[i]} good",
            )
            for i in range(BINS)
            if ok[i] + bad[i]
        )
        alarm = rows[f"alarm_{when}"].to_numpy(dtype=bool)
        found_bad, wrong = int(alarm[~good].sum()), int(alarm[good].sum())
        says = f"{found_bad} of {(~good).sum()} faults and {wrong} good image{'s' * (wrong != 1)} rejected"
        found.append(Histogram(bars, round(100 * limit / top, 2) if math.isfinite(limit) else -1, says))
    return found[0], found[1]


def answer(view: View, found: Preview, detector: str, operating: pd.DataFrame) -> dict[str, Any]:
    """What a preview shows of one detector, with a line of each other one that it has looked at."""
    one, settings = found.normality, view.params.evaluation
    effect = found.effect[found.effect["detector"] == detector]
    now = view.now[view.now["detector"] == detector]
    rows = against(now, effect)
    manifest = view.rows
    sizes = dict(zip(manifest["path"], zip(manifest["width"], manifest["height"], strict=True), strict=True))
    images = changed(rows, sizes, 144)
    wrong = controls(operating, one.class_name, one.group) if one.group and not one.apart else {}
    faults = rows[rows["type"] != "good"]
    limits = faults if len(faults) else rows
    before, after = (float(limits[f"threshold_{when}"].iloc[0]) for when in WHEN)
    gone, state = lost_ids(found.rows), view.state(detector)
    return {
        "one": one,
        "named": bool(one.group),
        "phrases": found.phrases,
        "source": found.source,
        "detector": detector,
        "says": said(found.rows, detector, one.group, settings, wrong),
        "others": [
            (name, said(found.rows, name, one.group, settings, wrong), name in found.asks)
            for name in view.snapshot.detectors
            if name != detector and name in set(found.effect["detector"])
        ],
        "whole": set(found.effect["detector"]) == set(view.snapshot.detectors),
        "histograms": histograms(rows, (before, after)),
        "sides": [
            (side, label, [_tile(state, image) for image in images if image.side == side][:CHANGED],
             sum(image.side == side for image in images))
            for side, label in SIDES.items()
        ],
        "kinds": _kinds(rows),
        "tests": found.tests,
        "asks": found.asks,
        "lost": gone,
        "agreement": agreement(gone),
    }  # fmt: skip


def _tile(state: pd.DataFrame, image: Changed) -> Tile:
    before, after = times(image.score_before, image.threshold_before), times(image.score_after, image.threshold_after)
    tone = "passes" if image.alarm_before else "rejected"
    return _made(state.loc[image.id], image.id, f"{before.split(' ')[0]} → {after}", tone)


def _kinds(rows: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Of each kind of image how many are rejected now and then."""
    return effect_summary(rows).to_dict("records") if len(rows) else []


def said(
    rows: pd.DataFrame, detector: str, group: str, settings: EvaluationSettings, wrong: Mapping[str, float]
) -> str:
    """What a detector's rows of ``nand_core.effect.changes`` come to, as an operator says it."""
    own = rows[rows["detector"] == detector]
    line = in_words(own, group, settings, wrong.get(detector, math.nan))
    for theirs, ours in WORDS.items():
        line = line.replace(theirs, ours)
    if not group:
        line = line.replace("other fault", "fault")
    line = line.replace(" pass (", " pass then (").replace(" before)", " now)")
    return line[:1].upper() + line[1:]


def stood(state: str) -> str:
    """What became of an entry of the log, ``nand.project.standing``, as an operator says it."""
    for theirs, ours in STATES.items():
        state = re.sub(theirs, ours, state)
    return state


def question(view: View, gone: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The images that would be let through, each once, by kind, with the detectors by which."""
    by: dict[str, list[str]] = {}
    for detector, ids in gone.items():
        for name in ids:
            by.setdefault(name, []).append(detector)
    kinds: dict[str, list[tuple[Tile, list[str]]]] = {}
    state = view.state(view.snapshot.detectors[0])
    for name in sorted(by):
        if name in state.index:
            one = _made(state.loc[name], name, ", ".join(by[name]), "rejected")
            kinds.setdefault(one.kind, []).append((one, by[name]))
    return {"count": len(by), "kinds": kinds, "detectors": len(view.snapshot.detectors)}
