"""``python -m benchmarks.embedded_model [demo] [words] [tiles] [speed]``: the figures of the embedded encoder's card.

demo: all five detectors, and PatchCore on random features that never saw a defect. words: the same with phrases kept
out of training, and with words that mean no defect. tiles: real magnetic tiles. speed: images encoded per second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from benchmarks.scratch import ROOT, Scratch, profile
from nand_core.datasets.demo import MATERIALS
from nand_core.drawing.lexicon import lexicon
from nand_core.errors import NandError
from nand_core.prompts.rules import rule_phrases
from nand_core.report.tables import markdown_table

PARTS = ("demo", "words", "tiles", "speed")
NONSENSE = ("sunshine", "asdf", "happy birthday")
#: What the lexicon calls a type of the demo, where the names differ.
SPOKEN = {"color": "stain", "gray_stroke": "stroke"}

Explicit = dict[str, dict[str, list[str]]]


def phrases(of: Callable[[str, str], list[str]]) -> Explicit:
    """``of(class, type)`` for every group of the demo."""
    return {name: {defect: of(name, defect) for defect in defects} for name, (_, defects) in MATERIALS.items()}


def held_out(name: str, defect: str) -> list[str]:
    """The phrases for a type of defect that the text tower was never trained on."""
    return [state.replace("{}", name) for state in lexicon().types[SPOKEN.get(defect, defect)].held_out]


def about(word: str, name: str, defect: str) -> list[str]:
    """What ``nand add`` would say for a word, whatever the type of defect."""
    return list(rule_phrases(name, word, 8))


def random_patchcore(path: Path, coreset: float) -> dict[str, Any]:
    """PatchCore on an untrained ResNet-18, whose seeded weights are written to ``path``."""
    from torchvision.models import resnet18

    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(resnet18().state_dict(), path)
    backbone = {"backbone": "torchvision:resnet18.IMAGENET1K_V1", "weights": str(path), "layers": ["layer1", "layer2"]}
    sizes = {"resize": 128, "crop": None, "coreset": coreset, "sigma": 4.0}
    return {"kind": "patchcore", "variant": "anomalib", **backbone, **sizes}


def created(folder: Path, params: dict[str, Any]) -> Scratch:
    project = Scratch(folder, params, patience=3600)
    project.create()
    return project


def gains(project: Scratch, explicit: Explicit | None = None) -> pd.Series:
    """Mean gain of each detector, with the phrases given or the project's own."""
    project.params["prompts"] = {**project.params["prompts"], "explicit": explicit or {}}
    return pd.Series({name: row["gain"] for name, row in project.measured().items()})


def demo_project(folder: Path, without: Collection[str] = (), **dataset: int) -> Scratch:
    """The demo with its default settings, five detectors and PatchCore on random features."""
    params = profile("demo_five.yaml")
    params["detectors"]["patchcore_random"] = random_patchcore(folder / "random.safetensors", coreset=0.02)
    params["detectors"] = {name: one for name, one in params["detectors"].items() if name not in without}
    params["dataset"]["demo"] |= dataset
    return created(folder / "demo", params)


def tiles_project(folder: Path) -> Scratch:
    """Magnetic tiles, the embedded encoder with its five detectors; NandError where the photographs are not at hand."""
    params = profile("magnetic_tile.yaml")
    if not (ROOT / params["dataset"]["root"]).is_dir():
        raise NandError(f"tiles: {params['dataset']['root']} is not here; ask for the other parts by name")
    five, coreset = profile("demo_five.yaml"), params["detectors"]["patchcore"]["coreset"]
    five["detectors"]["patchcore"]["coreset"] = coreset
    params |= {name: five[name] for name in ("encoder", "detectors", "suppression")}
    params["evaluation"]["examples"] = None
    params["dataset"]["root"] = str((ROOT / params["dataset"]["root"]).resolve())
    return created(folder / "tiles", params)


def words_table(said: dict[str, pd.Series]) -> str:
    """Mean gain of each detector for each way to say it."""
    detectors = list(next(iter(said.values())).index)
    rows = ([name, *(f"{found[detector]:+.2f}" for detector in detectors)] for name, found in said.items())
    return markdown_table(["phrases", *detectors], rows, text_columns=1)


def tiles_table(table: pd.DataFrame) -> str:
    """Before and after, group by group; the mean over groups last."""
    groups = list(dict.fromkeys(table["group"]))
    rows = []
    for detector, found in table.groupby("detector", sort=False):
        pairs = [(row.auroc_before, row.auroc_after) for row in found.set_index("group").loc[groups].itertuples()]
        pairs.append(tuple(map(fmean, zip(*pairs, strict=True))))
        rows.append([detector, *(f"{before:.1f} → {after:.1f}" for before, after in pairs)])
    return markdown_table(["detector", *groups, "mean"], rows, text_columns=1)


def plain_auroc(folder: Path) -> dict[str, float]:
    """AUROC of each detector with every defect abnormal, nothing added as normal."""
    from sklearn.metrics import roc_auc_score

    scores = pd.read_parquet(folder / "results/scores.parquet").drop_duplicates(["detector", "id"])
    return {
        name: 100 * roc_auc_score(found["type"] != "good", found["score_before"])
        for name, found in scores.groupby("detector", sort=False)
    }


def images_per_second(count: int = 256) -> float:
    """Encoding speed of the project's own encoder, all threads of this machine, batches of 32."""
    from nand_core.vlm.encoder import load_vlm
    from nand_core.vlm.settings import EncoderSettings

    vlm = load_vlm(EncoderSettings())
    pixels = torch.randn(32, 3, vlm.image_size, vlm.image_size)
    vlm.encode_images(pixels)
    began = time.perf_counter()
    for _ in range(count // len(pixels)):
        vlm.encode_images(pixels)
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="all by default")
    parts = parser.parse_args().parts or PARTS
    if strange := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if {"demo", "words"} & set(parts):
            demo = demo_project(folder)
            said = {"the project's own": gains(demo)}
            print((demo.folder / "results/tables/summary.md").read_text(encoding="utf-8"), flush=True)
        if "words" in parts:
            said["kept out of training"] = gains(demo, phrases(held_out))
            for word in NONSENSE:
                said[f"about {word!r}"] = gains(demo, phrases(partial(about, word)))
            print(words_table(said), flush=True)
        if "tiles" in parts:
            tiles = tiles_project(folder)
            tiles.measured()
            print((tiles.folder / "results/tables/summary.md").read_text(encoding="utf-8"))
            print(tiles_table(pd.read_parquet(tiles.folder / "results/auroc.parquet")))
            plain = plain_auroc(tiles.folder).items()
            print("plain AUROC:", ", ".join(f"{name} {value:.1f}" for name, value in plain), flush=True)
    if "speed" in parts:
        print(f"{images_per_second():.0f} images/s, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
