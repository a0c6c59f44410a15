"""``python -m benchmarks.wrong_texts [PROJECT]``: what texts that fit nothing cost, on a computed project.

Every text is made normal for every class in turn, alone, and the other anomalies that lose their alarm are counted as
``nand add`` counts them. Beyond ``evaluation.lost_alarms`` it asks; the table says how often that is, and what is lost
where it does not ask.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import nand
from benchmarks.scratch import ROOT
from nand_core.artifacts.maps import MapFile
from nand_core.config import load_params
from nand_core.decision import good_level
from nand_core.effect import changes, lost, others, too_many_lost
from nand_core.operating import effect_rows
from nand_core.report.tables import markdown_table

TEXTS = (
    "swarf", "sunshine", "banana", "monday", "jazz", "tomorrow", "blue sky", "happiness", "engine", "river", "chess",
    "window", "music", "paper clip", "cloud", "fog", "sugar", "yellow", "number seven", "umbrella", "whisper", "gold",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wrong_texts", description=__doc__)
    parser.add_argument("project", nargs="?", type=Path, default=ROOT, help="its results have to be there")
    folder = parser.parse_args().project
    params = load_params(folder / "params.yaml")
    manifest = pd.read_parquet(folder / "artifacts/manifest.parquet")
    tests = manifest[manifest["split"] == "test"]
    root, found = folder / params.dataset.root, []
    for name, rows in tests.groupby("class", sort=True):
        normality = nand.Normality.from_params(folder / "params.yaml", str(name))
        for text in normality.texts:
            normality.remove(text.text)
        encoded = normality.encode([root / path for path in rows["path"]])
        good = (rows["type"] == "good").to_numpy()
        bases = {
            detector: MapFile(folder / f"artifacts/base_maps/{detector}/{name}.npz")[:] for detector in params.detectors
        }
        for text in tqdm(TEXTS, desc=str(name)):
            made = normality.add(text, force=True)
            for detector, base in bases.items():
                settings = params.evaluation.for_(detector, str(name))
                result = normality.apply(encoded, base, level=good_level(base.max((1, 2))[good]))
                effect = effect_rows(detector, rows, (), result.scores_before, result.scores_after, settings)
                each = changes(effect[:0], effect)
                share = 100 * lost(each).sum() / others(each).sum()
                found.append((detector, made.text, share, bool(too_many_lost(each, settings.lost_alarms))))
            normality.remove(text)
    table = pd.DataFrame(found, columns=["detector", "text", "lost", "asked"])
    print(markdown_table(
        ["detector", "additions", "asked", "most lost without asking %", "mean loss %", "texts that are asked about"],
        [
            [
                str(detector), len(part), int(part["asked"].sum()),
                f"{np.max(part.loc[~part['asked'], 'lost'], initial=0):.1f}", f"{part['lost'].mean():.2f}",
                ", ".join(sorted(set(part.loc[part["asked"], "text"]))) or "none",
            ]
            for detector, part in table.groupby("detector")
        ],
        text_columns=1,
    ))  # fmt: skip


if __name__ == "__main__":
    main()
