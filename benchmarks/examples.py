"""``python -m benchmarks.examples``: showing k images against fitting PatchCore anew with them, on the magnetic tiles.

Both start from encoded images and a fitted detector's maps. By example: the k images are encoded, compared with the
good patches, and the maps of all test images suppressed. Anew: the k images join the good ones, a memory bank is made,
and all test images get new maps. In between stands the bank as it is with the examples' patches put in. All in one
process, on the same features; the seconds are those of this run, the ratio is what counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file
from tqdm import tqdm

from benchmarks.scratch import ROOT
from nand_core.adaptation.centre import mean_directions, shift
from nand_core.adaptation.targets import defect_kinds
from nand_core.config import load_params
from nand_core.datasets.images import read_image
from nand_core.datasets.manifest import scan
from nand_core.detectors.base import Context
from nand_core.detectors.patchcore import PatchCore
from nand_core.detectors.settings import PatchCoreSettings
from nand_core.errors import NandError
from nand_core.example_protocol import drawn, example_row
from nand_core.examples import (
    enlarged,
    example_map,
    good_distances,
    learn_good,
    patch_vectors,
    picture_patches,
    shown_by,
    understood,
)
from nand_core.meaning import Kinds
from nand_core.normality import image_score, suppress, text_feature
from nand_core.prompts.templates import normal_sentences
from nand_core.report.tables import markdown_table
from nand_core.settings import EvaluationSettings
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.features import ImageFeatures

BATCH = 32


@dataclass
class Encoded:
    """Some encoded images, as detectors take them."""

    root: Path
    ids: Sequence[str]
    found: ImageFeatures

    def images(self) -> list[Image.Image]:
        """The images, decoded now."""
        return [read_image(self.root / path) for path in self.ids]

    def features(self) -> ImageFeatures:
        """Their encoding."""
        return self.found


@dataclass
class Way:
    """What one way of making images normal gave, over all groups."""

    seconds: list[float] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)


def encoded(vlm: VLM, root: Path, paths: Sequence[str], what: str) -> list[Encoded]:
    """The images in batches."""
    found = []
    for start in tqdm(range(0, len(paths), BATCH), desc=what):
        part = paths[start : start + BATCH]
        pixels = torch.stack([vlm.preprocess(read_image(root / path)) for path in part])
        found.append(Encoded(root, part, vlm.encode_images(pixels)))
    return found


def centred(vlm: VLM, class_name: str, train: Sequence[Encoded], share: float) -> VLM:
    """The encoder less what good images have in common, as the stage ``adaptation`` makes it."""
    normal = text_feature(vlm.encode_text(normal_sentences(class_name)))
    means = mean_directions((batch.found.asked for batch in train), vlm.linear, vlm.embed_dim)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "heads.safetensors"
        save_file({f"{number}.shift": shift(mean, normal, share) for number, mean in enumerate(means)}, file)
        return vlm.adapted(file)


def scores(detector: PatchCore, batches: Sequence[Encoded]) -> Iterator[torch.Tensor]:
    """The detector's maps, a batch at a time."""
    return (detector.maps(batch) for batch in batches)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=__doc__)
    parser.add_argument("--images", type=int, default=5, help="images shown")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--groups", nargs="*", help="of these groups alone")
    chosen = parser.parse_args()
    params = load_params(ROOT / "profiles/magnetic_tile.yaml")
    root = ROOT / params.dataset.root
    if not root.is_dir():
        raise SystemExit(f"{root}: not there; this benchmark needs the magnetic tiles")
    manifest = scan(params.dataset, root)
    tests, good = (manifest[manifest["split"] == split] for split in ("test", "train"))
    (name,) = manifest["class"].unique()
    vlm, settings, examples = load_vlm(params.encoder), params.detectors["patchcore"], params.suppression.examples
    train, images = (encoded(vlm, root, rows["path"].tolist(), str(rows["split"].iloc[0])) for rows in (good, tests))
    assert isinstance(settings, PatchCoreSettings)
    vlm = centred(vlm, name, train, params.encoder.centre)
    kinds = Kinds(defect_kinds(vlm, name), params.suppression.deepest)

    def fitted(batches: Sequence[Encoded]) -> PatchCore:
        detector = PatchCore(settings, Context(name, lambda: vlm, lambda: ()))
        detector.fit(batches)
        return detector

    detector = fitted(train)
    maps = torch.cat(list(scores(detector, images)))
    reference = learn_good((patch_vectors(batch.found.layers) for batch in train), len(good), examples)
    distances = [good_distances(patch_vectors(batch.found.layers), reference) for batch in images]
    ways = {"by example": Way(), "bank edited": Way(), "fitted anew": Way()}
    for group in chosen.groups or sorted(set(tests["group"]) - {""}):
        own = tests[tests["group"] == group]
        if not drawn(own, chosen.images, 0, 0):
            raise NandError(f"--groups: no more than {chosen.images} parts of {group!r} among the test images")
        for draw in range(chosen.draws):
            shown = drawn(own, chosen.images, draw, 0)

            def judge(
                way: str, started: float, after: torch.Tensor, group: str = group, shown: Sequence[str] = shown
            ) -> None:
                ways[way].seconds.append(time.perf_counter() - started)
                found = dict.fromkeys(("after", "text", "both"), after.numpy()) | {"before": image_score(maps).numpy()}
                ways[way].rows.append(example_row("patchcore", tests, group, shown, found, EvaluationSettings()))

            started = time.perf_counter()
            like = [
                picture_patches(vlm, read_image(root / path), None, reference, examples, kinds=kinds) for path in shown
            ]
            known = shown_by(like, [], reference.level, examples, kinds)
            grids = (
                example_map(
                    patch_vectors(batch.found.layers), far, known, examples, understood(vlm, batch.found, kinds)
                )
                for batch, far in zip(images, distances, strict=True)
            )
            pairs = zip(maps.split(BATCH), grids, strict=True)
            judge("by example", started, torch.cat([image_score(suppress(a, enlarged(grid))) for a, grid in pairs]))

            started = time.perf_counter()
            more = encoded(vlm, root, shown, "shown")
            edited = PatchCore(settings, Context(name, lambda: vlm, lambda: ()))
            edited.load_state({"bank": torch.cat([detector.state()["bank"], known.like])})
            judge("bank edited", started, torch.cat([image_score(part) for part in scores(edited, images)]))

            started = time.perf_counter()
            anew = fitted([*train, *more])
            judge("fitted anew", started, torch.cat([image_score(part) for part in scores(anew, images)]))
            said = (f"{way} {found.rows[-1]['auroc_before']:.1f} -> {found.rows[-1]['auroc_after']:.1f}, "
                    f"{found.seconds[-1]:.1f} s" for way, found in ways.items())  # fmt: skip
            print(f"{group}, draw {draw}: {'; '.join(said)}", flush=True)
    print(markdown_table(
        ["way", "before", "after", "accepted %", "retained %", "median s", "share of anew's time"],
        [summary(name, way, ways["fitted anew"]) for name, way in ways.items()],
        text_columns=1,
    ))  # fmt: skip


def summary(name: str, way: Way, anew: Way) -> list[object]:
    """A row of the table."""
    means = pd.DataFrame(way.rows).groupby("group").mean(numeric_only=True).mean()
    return [
        name,
        *(f"{means[column]:.1f}" for column in ("auroc_before", "auroc_after")),
        *(f"{means[f'{rate}_before']:.0f} to {means[f'{rate}_after']:.0f}" for rate in ("accepted", "retained")),
        f"{np.median(way.seconds):.1f}",
        f"{np.median(np.divide(way.seconds, anew.seconds)):.3f}",
    ]


if __name__ == "__main__":
    main()
