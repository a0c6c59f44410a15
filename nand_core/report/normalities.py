"""The page of the normalities that hold now: their phrases, and what became of every test image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nand_core.operating import effect_summary
from nand_core.report.changes import Changed, gallery, shared
from nand_core.report.page import environment

PAGE = "report/normalities.html"


@dataclass(frozen=True)
class ShownImage:
    """An example: its file's name, a small picture of it as a data URI, and the box in it, if it has one."""

    name: str
    uri: str
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Described:
    """A normality in words and pictures.

    Attributes:
        group: the labelled group that it is; "" for a free text.
        prompt: its prompt set, as in ``prompts/<class>/<name>.json``; None where it is examples alone.
        unknown: words of its phrases that the text tower does not know.
        like: its examples.
        unlike: those of what it is not.
    """

    class_name: str
    text: str
    group: str
    prompt: Mapping[str, object] | None
    unknown: Sequence[str] = ()
    like: Sequence[ShownImage] = ()
    unlike: Sequence[ShownImage] = ()


def render_normalities(
    held: Sequence[Described],
    effect: pd.DataFrame,
    false_alarm: float,
    fixed: Collection[tuple[str, str]] = (),
    *,
    changed: Sequence[Changed] = (),
) -> str:
    """The page as HTML; every text in it is escaped.

    Args:
        held: all normalities that hold now.
        effect: ``results/normalities.parquet``.
        false_alarm: the rate that thresholds were set for, 0 to 1.
        fixed: detector and class where the threshold was given instead.
        changed: the images that changed sides; their pictures are to lie beside the page.
    """
    classes: list[dict[str, Any]] = [
        {
            "name": name,
            "normalities": [_described(one) for one in held if one.class_name == name],
            "detectors": _detectors(effect[effect["class"] == name], {of for of, one in fixed if one == name}),
            "changes": gallery(
                [one for one in changed if one.class_name == name], effect[effect["class"] == name], f"c{number}"
            ),
        }
        for number, name in enumerate(sorted({one.class_name for one in held}))
    ]
    given = {one["fixed"] for found in classes for one in found["detectors"]}
    return (
        environment()
        .get_template("normalities.html.j2")
        .render(
            classes=classes,
            false_alarm=100 * false_alarm,
            some_fixed=True in given,
            all_fixed=given == {True},
            **shared(),
        )
    )


def _described(one: Described) -> dict[str, Any]:
    prompt = one.prompt or {}
    return {
        "text": one.text,
        "group": one.group,
        "phrases": prompt.get("phrases", ()),
        "source": " · ".join(str(prompt[key]) for key in ("provider", "model") if prompt.get(key)),
        "unknown": one.unknown,
        "like": one.like,
        "unlike": one.unlike,
    }


def _detectors(effect: pd.DataFrame, fixed: Collection[str]) -> list[dict[str, Any]]:
    summary = effect_summary(effect) if len(effect) else effect
    return [
        {
            "name": name,
            "fixed": name in fixed,
            "kinds": summary[summary["detector"] == name].to_dict("records"),
            "images": images.sort_values("id").to_dict("records"),
        }
        for name, images in effect.groupby("detector")
    ]
