"""The protocol for normality by example: k images of a group are shown, and all others of it judged."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nand_core.datasets.parts import of_parts, part_of
from nand_core.operating import DECIDED, operating_row
from nand_core.protocol import auroc, auroc_bound, labels, share
from nand_core.settings import EvaluationSettings
from nand_core.verdict import counted, keyed

EXAMPLE_COLUMNS = [
    "detector", "class", "group", "images", "draw", "verdict", *DECIDED,
    "auroc_before", "auroc_after", "auroc_bound", "auroc_text", "auroc_both",
    "accepted_both", "retained_both", "lost_both",
    "n_normal", "n_abnormal",
]  # fmt: skip
MEANS = EXAMPLE_COLUMNS[6:-2]
METRICS = [*DECIDED, "auroc_before", "auroc_after", "auroc_bound", "gain", "share", "auroc_text", "auroc_both",
           "accepted_both", "retained_both", "lost_both", "groups", "groups_gaining"]  # fmt: skip


def drawn(rows: pd.DataFrame, images: int, draw: int, seed: int) -> tuple[str, ...]:
    """Paths of ``images`` of a group's images for draw number ``draw``, no two of one part.

    Those of a smaller number are among them. () where they would leave no part to judge.

    Args:
        rows: manifest rows of the group's test images.
    """
    paths = sorted(rows["path"])
    parts = dict(zip(rows["path"], part_of(rows), strict=True))
    shown: dict[str, str] = {}
    for number in np.random.default_rng([seed, draw, _number(paths)]).permutation(len(paths)):
        shown.setdefault(parts[paths[number]], paths[number])
    return tuple(sorted(list(shown.values())[:images])) if len(shown) > images else ()


def _number(paths: Collection[str]) -> int:
    """Of the images, so that groups do not share their draws."""
    return int.from_bytes(hashlib.sha256("\0".join(sorted(paths)).encode()).digest()[:8], "big")


def example_row(
    detector: str,
    rows: pd.DataFrame,
    group: str,
    shown: Collection[str],
    scores: Mapping[str, ArrayLike],
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """One row of ``results/examples.parquet`` (``EXAMPLE_COLUMNS`` without images and draw), in percent.

    Its verdict is that of this draw's examples; no wrong text has a part in it. What ends in ``both`` is by the group's
    text and the examples together.

    Args:
        detector: its name.
        rows: manifest rows of the class's test images, in the order of the scores.
        group: the group whose normality is shown.
        shown: paths of the images that show it: their parts are left out.
        scores: (n,) image scores ``before``, ``after`` (the examples), ``text`` (its text alone) and ``both``.

    Raises:
        NandError: as ``nand_core.protocol.evaluate_group``.
    """
    kept = ~of_parts(rows, shown).to_numpy()
    rows = rows[kept]
    found: dict[str, NDArray[np.float64]] = {name: np.asarray(one)[kept] for name, one in scores.items()}
    truth = labels(rows, group)
    point, both = (
        operating_row(detector, rows, group, found["before"], found[name], settings) for name in ("after", "both")
    )
    return {
        "detector": detector,
        "class": str(rows["class"].iloc[0]),
        "group": group,
        **{name: point[name] for name in ("verdict", *DECIDED)},
        **{f"auroc_{name}": auroc(truth, one) for name, one in found.items()},
        "auroc_bound": auroc_bound(rows, group, found["before"]),
        "accepted_both": both["accepted_after"],
        "retained_both": both["retained_after"],
        "lost_both": both["lost"],
        "n_normal": int(np.sum(truth == 0)),
        "n_abnormal": int(np.sum(truth == 1)),
    }


def example_means(table: pd.DataFrame) -> pd.DataFrame:
    """A detector's figures for each number of images: means over classes of means over groups of means over draws.

    Returns:
        Columns detector, images, verdict, those of ``MEANS``, gain, share, gain_low and gain_high (the least and the
        greatest of the draws' mean gains), groups, and groups_gaining (the gain, a mean over draws, is above 0).
        ``verdict`` counts every draw of every group, as ``nand_core.verdict.counted`` does: whoever shows examples
        has one draw, so that one which harms must not vanish behind two others.
    """
    found: list[dict[str, Any]] = []
    for (detector, images), part in table.groupby(["detector", "images"], sort=True):
        groups = part.groupby(["class", "group"])[MEANS].mean()
        means = groups.groupby("class").mean().mean()
        gains = part.assign(gain=part["auroc_after"] - part["auroc_before"])
        draws = gains.groupby(["draw", "class"])["gain"].mean().groupby("draw").mean()
        found.append(
            {
                "detector": detector,
                "images": images,
                "verdict": counted(part["verdict"]),
                **dict(zip(MEANS, means[MEANS], strict=True)),
                "gain": means["auroc_after"] - means["auroc_before"],
                "share": share(means["auroc_before"], means["auroc_after"], means["auroc_bound"]),
                "gain_low": draws.min(),
                "gain_high": draws.max(),
                "groups": len(groups),
                "groups_gaining": int((groups["auroc_after"] > groups["auroc_before"]).sum()),
            }
        )
    more = ["gain", "share", "gain_low", "gain_high", "groups", "groups_gaining"]
    return pd.DataFrame(found, columns=["detector", "images", "verdict", *MEANS, *more])


def example_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """``results/examples.parquet``; with its columns' types where there is no row."""
    frame = pd.DataFrame(list(rows), columns=EXAMPLE_COLUMNS)
    types = dict.fromkeys(EXAMPLE_COLUMNS, "float64") | dict.fromkeys((*EXAMPLE_COLUMNS[:3], "verdict"), "str")
    types |= dict.fromkeys(("images", "draw", "n_normal", "n_abnormal"), "int64")
    return frame.astype(types).sort_values(EXAMPLE_COLUMNS[:5], ignore_index=True)


def with_examples(figures: Mapping[str, Mapping[str, Any]], table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The detectors' figures, and under ``examples`` the table's by number of images, the counts of verdicts first."""
    found = {detector: dict(one) for detector, one in figures.items()}
    for row in example_means(table).to_dict("records"):
        figure: dict[str, Any] = {"verdict": keyed(row["verdict"])}
        figure |= {name: None if pd.isna(row[name]) else row[name] for name in METRICS}
        found.setdefault(row["detector"], {}).setdefault("examples", {})[str(row["images"])] = figure
    return found
