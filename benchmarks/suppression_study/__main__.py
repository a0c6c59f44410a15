"""``python -m benchmarks.suppression_study``: how a suppression map should be made, asked of data the demo has not.

Five materials and a seed of the study's own, all five detectors on the embedded encoder; every setting goes through
the whole pipeline. The table is Markdown; the best setting is the one of the largest mean gain over the detectors.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image
from tqdm import tqdm

from benchmarks.scratch import Scratch, profile
from benchmarks.suppression_study.materials import MATERIALS
from nand_core.datasets import demo
from nand_core.datasets.settings import DemoSettings
from nand_core.prompts.curated import curated_bank
from nand_core.report.tables import markdown_table

SEED = 4711
SIDES = {False: (0, 19, 37, 55), True: (0, 19, 37, 55, 73, 91)}
GRID = [("mean", side, rivals) for rivals, sides in SIDES.items() for side in sides] + [
    (combine, side, rivals) for combine in ("max", "sum") for side, rivals in ((0, False), (37, True))
]


def write_images(root: Path, settings: DemoSettings) -> None:
    """The study's images in MVTec AD's layout, masks too."""
    todo = list(demo.subjects(settings, MATERIALS))
    for subject in tqdm(todo, desc="images"):
        photograph = demo.draw(subject, settings.seed, settings.image_size, MATERIALS)
        for path, pixels in ((subject.image_path, photograph.image), (subject.mask_path, photograph.mask)):
            if path is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).convert("L" if pixels.dtype == bool else "RGB").save(root / path)


def phrases() -> dict[str, dict[str, list[str]]]:
    """The curated phrases of the demo's classes for the same types, with the study's names in them."""
    bank = curated_bank()
    owners = {defect: owner for owner, (_, defects) in demo.MATERIALS.items() for defect in defects}
    return {
        name: {
            defect: [phrase.replace(owners[defect], name) for phrase in bank[owners[defect]][defect]]
            for defect in defects
        }
        for name, (_, defects) in MATERIALS.items()
    }


def project(folder: Path, settings: DemoSettings) -> Scratch:
    params = {
        "dataset": {"kind": "folder", "root": "data/study"},
        "encoder": {"model": "embedded"},
        "prompts": {"explicit": phrases()},
        "detectors": profile("demo_five.yaml")["detectors"],
        "suppression": {},
        "evaluation": {"bootstrap": 1},
        "report": {"gallery": 0},
    }
    made = Scratch(folder, params)
    made.create()
    write_images(folder / "data/study", settings)
    return made


def rows(made: Scratch) -> Iterator[dict[str, Any]]:
    """The gains of every setting, as they are found."""
    for combine, dilation, competing in tqdm(GRID, desc="settings"):
        made.params["suppression"] = {"combine": combine, "dilation": dilation, "competing": competing}
        metrics = made.measured()
        gains = {detector: row["gain"] for detector, row in metrics.items()}
        worse = sum(row["groups_worse"] for row in metrics.values())
        yield {**made.params["suppression"], **gains, "mean": fmean(gains.values()), "worse": worse}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-type", type=int, default=12, help="images of each type")
    arguments = parser.parse_args()
    settings = DemoSettings(seed=SEED, per_type=arguments.per_type)
    with tempfile.TemporaryDirectory() as folder:
        made = project(Path(folder) / "project", settings)
        found = list(rows(made))
        before = json.loads((made.folder / "results/metrics.json").read_text())  # whatever the setting, the same
    print("AUROC before:", ", ".join(f"{name} {row['auroc_before']:.1f}" for name, row in before.items()))
    cells = ([f"{value:+.1f}" if isinstance(value, float) else value for value in row.values()] for row in found)
    print(markdown_table(list(found[0]), cells, text_columns=3))


if __name__ == "__main__":
    main()
