"""``python -m benchmarks.example_study``: how examples should become a suppression map, asked of data the demo has not.

The images of ``benchmarks.suppression_study`` (five materials and a seed of its own), the embedded encoder, two
detectors. The pipeline makes the maps once; then every setting is asked on the same encodings and the same draws. The
table is Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.suppression_study.__main__ import SEED, project
from nand_core.artifacts.maps import MapFile
from nand_core.datasets.images import read_image
from nand_core.datasets.settings import DemoSettings
from nand_core.example_protocol import drawn, example_means, example_row, example_table
from nand_core.examples import (
    Good,
    Shown,
    enlarged,
    example_map,
    good_distances,
    learn_good,
    patch_vectors,
    picture_patches,
    together,
)
from nand_core.normality import image_score, suppress
from nand_core.report.tables import markdown_table
from nand_core.settings import EvaluationSettings, ExampleSettings
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.settings import EncoderSettings

IMAGES, DETECTORS = 5, ("april_gan", "patchcore")
PLAIN: dict[str, Any] = {"none": 0, "whole": 1, "widen": 1, "regions": False, "turns": False}
GRID: Mapping[str, dict[str, Any]] = {
    "1 - d_ex / d_good": PLAIN,
    "and reflections": PLAIN | {"turns": True},
    "and 3x3 maximum": {"none": 0, "whole": 1, "regions": False},
    "0.1 to 0.5": {"none": 0.1, "whole": 0.5, "regions": False},
    "0.1 to 0.5, regions": {"none": 0.1, "whole": 0.5},
    "0.2 to 0.6": {"none": 0.2, "whole": 0.6, "regions": False},
    "0.2 to 0.6, regions": {"none": 0.2, "whole": 0.6},
    "0.3 to 0.6, regions": {"none": 0.3, "whole": 0.6},
    "level 0.98": {"level": 0.98},
    "512 patches": {"patches": 512},
}


@dataclass
class Class:
    """One class, encoded, with the detectors' maps of its test images."""

    rows: pd.DataFrame
    root: Path
    train: Tensor
    test: Tensor
    maps: dict[str, Tensor]
    good: dict[float, tuple[Good, Tensor]]

    def reference(self, settings: ExampleSettings) -> tuple[Good, Tensor]:
        """What good patches look like, and the test images' distances to them."""
        if settings.level not in self.good:
            good = learn_good([self.train], len(self.train), settings)
            self.good[settings.level] = good, good_distances(self.test, good)
        return self.good[settings.level]


def classes(folder: Path, vlm: VLM) -> Iterator[Class]:
    """Those of a project whose maps are there."""
    manifest, root = pd.read_parquet(folder / "artifacts/manifest.parquet"), folder / "data/study"

    def encoded(rows: pd.DataFrame) -> Tensor:
        parts = [rows["path"].tolist()[start : start + 16] for start in range(0, len(rows), 16)]
        pixels = (torch.stack([vlm.preprocess(read_image(root / path)) for path in part]) for part in parts)
        return torch.cat([patch_vectors(vlm.encode_images(part).layers) for part in pixels])

    for name, rows in manifest.groupby("class"):
        tests = rows[rows["split"] == "test"].reset_index(drop=True)
        files = {one: MapFile(folder / f"artifacts/base_maps/{one}/{name}.npz") for one in DETECTORS}
        maps = {one: torch.from_numpy(np.concatenate(list(file.batches(64)))) for one, file in files.items()}
        yield Class(tests, root, encoded(rows[rows["split"] == "train"]), encoded(tests), maps, {})


def judged(one: Class, vlm: VLM, settings: ExampleSettings, draws: int) -> Iterator[dict[str, Any]]:
    """The protocol's rows of one class."""
    good, distances = one.reference(settings)
    for group, tests in one.rows[one.rows["group"] != ""].groupby("group"):
        for draw in range(draws):
            shown = drawn(tests, IMAGES, draw, 0)
            like = [picture_patches(vlm, read_image(one.root / path), None, good, settings)[0] for path in shown]
            patches = Shown(together(like, settings), torch.empty(0, 0), good.level)
            found = enlarged(example_map(one.test, distances, patches, settings))
            for detector, maps in one.maps.items():
                after = image_score(suppress(maps, found)).numpy()
                scores = dict.fromkeys(("after", "text", "both"), after) | {"before": image_score(maps).numpy()}
                row = example_row(detector, one.rows, str(group), shown, scores, EvaluationSettings())
                yield {**row, "images": IMAGES, "draw": draw}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.example_study", description=__doc__)
    parser.add_argument("--per-type", type=int, default=12, help="images of each type")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--project", type=Path, help="one that a run of this study left, in place of a new one")
    arguments = parser.parse_args()
    vlm = load_vlm(EncoderSettings(device="cpu"))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.project or Path(folder) / "project"
        if arguments.project is None:
            project(place, DemoSettings(seed=SEED, per_type=arguments.per_type)).measured()
        data = list(classes(place, vlm))
        for name, setting in tqdm(GRID.items(), desc="settings"):
            settings = ExampleSettings(**setting)
            rows = [row for one in data for row in judged(one, vlm, settings, arguments.draws)]
            means = example_means(example_table(rows)).to_dict("records")
            found += [[name, r["detector"], *(f"{r[key]:.1f}" for key in ("auroc_before", "auroc_after")),
                       f"{r['share']:.0f}", f"{r['accepted_before']:.0f} to {r['accepted_after']:.0f}",
                       f"{r['retained_before']:.0f} to {r['retained_after']:.0f}",
                       f"{r['groups_gaining']} of {r['groups']}"] for r in means]  # fmt: skip
    header = ["map", "detector", "before", "after", "share %", "accepted %", "retained %", "groups that gain"]
    print(markdown_table(header, found, text_columns=2))


if __name__ == "__main__":
    main()
