"""``python -m benchmarks.decision_study``: when what is seen of a normality in a region is enough to suppress it.

On the images of ``benchmarks.suppression_study``, which the demo has not: each group added by its text, the threshold
for 5 % false alarms. The table is Markdown; the best rule is the one of the largest ``worth`` among those that rank no
detector more than a point below Eq. 6 (``docs/suppression.md``).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.suppression_study.__main__ import SEED, project
from nand_core.artifacts.maps import MapFile
from nand_core.datasets.settings import DemoSettings
from nand_core.decision import Claim, Decision, Regions, good_level
from nand_core.normality import image_score
from nand_core.operating import operating_row
from nand_core.protocol import auroc, labels
from nand_core.report.tables import markdown_table
from nand_core.settings import EvaluationSettings, Rule

Votes = NDArray[np.float64]
EQ_6 = "Eq. 6"
BESIDE: dict[str, Callable[[Votes, Votes], Votes]] = {
    "v": lambda v, o: v,
    "v (v/o)": lambda v, o: v * _behind(v, o),
    "v (v/o)^2": lambda v, o: v * _behind(v, o) ** 2,
    "2v^2/(v+o)": lambda v, o: v * np.minimum(1, 2 * v / (v + o + 1e-9)),
    "2v^3/(v^2+o^2)": lambda v, o: v * np.minimum(1, 2 * v**2 / (v**2 + o**2 + 1e-9)),
    "v+(v-o)/2": lambda v, o: (v + (v - o) / 2).clip(0, 1),
    "v/(v+o) min(1, v/0.3)": lambda v, o: v / (v + o + 1e-9) * np.minimum(1, v / 0.3),
}
RAMPS = [(0.0, 0.4), (0.0, 0.5), (0.0, 0.6), (0.0, 0.7), (0.1, 0.4), (0.1, 0.5), (0.1, 0.6), (0.2, 0.5), (0.2, 0.6)]
SETTINGS = EvaluationSettings(bootstrap=1)


def _behind(votes: Votes, other: Votes) -> Votes:
    return np.divide(votes, other, out=np.ones_like(votes), where=other > votes)


def after(
    anomaly: NDArray[np.float32], level: float, own: NDArray[np.float32], rivals: list[NDArray[np.float32]]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The image scores (n,) after the addition of one text, by each rule; maps (n, H, W)."""
    maps, seen = torch.from_numpy(anomaly), torch.from_numpy(own)
    yield EQ_6, image_score(Decision(maps, Rule(regions=None)).final_maps([Claim(seen)])).double().numpy()
    regions = Regions(maps, level)
    votes = regions.votes(seen)
    other = np.maximum.reduce([regions.votes(torch.from_numpy(one)) for one in rivals])
    for name, beside in BESIDE.items():
        counted = beside(votes, other)
        for none, whole in RAMPS:
            share = ((counted - none) / (whole - none)).clip(0, 1)
            yield f"{name}, {none:g} to {whole:g}", image_score(regions.lowered(share)).double().numpy()


def rows(artifacts: Path, detectors: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each detector, class, group and rule."""
    manifest = pd.read_parquet(artifacts / "manifest.parquet")
    for name, tests in tqdm(list(manifest[manifest["split"] == "test"].groupby("class")), desc="classes"):
        groups = sorted(set(tests["group"]) - {""})
        own, known = ({g: MapFile(artifacts / kind / name / f"{g}.npz")[:] for g in groups}
                      for kind in ("suppression", "rivals"))  # fmt: skip
        for detector in detectors:
            anomaly = MapFile(artifacts / "base_maps" / detector / f"{name}.npz")[:]
            before = anomaly.max(axis=(1, 2)).astype(float)
            level = good_level(before[(tests["type"] == "good").to_numpy()])
            for group in groups:
                rivals = [known[other] for other in groups if other != group]
                for rule, scores in after(anomaly, level or 0.0, own[group], rivals):
                    row = operating_row(detector, tests, group, before, scores, SETTINGS)
                    fall = row["retained_before"] - row["retained_after"]
                    yield {"rule": rule, "detector": detector, "auroc": auroc(labels(tests, group), scores),
                           "accepted": row["accepted_after"], "retained": row["retained_after"], "fall": fall,
                           "worth": row["accepted_after"] - 2 * fall}  # fmt: skip


def table(found: pd.DataFrame) -> str:
    """Means by rule, the best last; ``!`` marks those that rank some detector more than a point below Eq. 6."""
    mean = found.groupby(["rule", "detector"], sort=False).mean().unstack("detector")
    worse = (mean["auroc"].loc[EQ_6] - mean["auroc"] > 1).any(axis=1)
    order = mean["worth"].mean(axis=1).sort_values()
    lines = [
        [
            f"{rule}{' !' * bool(worse[rule])}",
            *(
                ", ".join(f"{mean.loc[rule, (figure, one)]:.1f}" for figure in ("auroc", "accepted", "retained"))
                for one in mean["auroc"].columns
            ),
            f"{worth:.1f}",
        ]
        for rule, worth in order.items()
    ]
    return markdown_table(["rule", *mean["auroc"].columns, "worth"], lines, text_columns=1 + len(mean["auroc"].columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-type", type=int, default=12, help="images of each type")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = project(Path(folder) / "project", DemoSettings(seed=SEED, per_type=arguments.per_type))
        made.params["detectors"] = {name: one for name, one in made.params["detectors"].items() if name != "winclip_1"}
        detectors: Mapping[str, Any] = made.params["detectors"]
        made.measured()
        found = pd.DataFrame(rows(made.folder / "artifacts", list(detectors)))
    print(table(found))


if __name__ == "__main__":
    main()
