"""Large images: ``python -m benchmarks.large_images [large|effect]``.

``large``: a class of images of 8000 x 6000 pixels, some with a drawn defect of 30 pixels, goes through every stage and
the inbox, each as its own process, with ``encoder.tiles``. It prints for each detector whether the defects score above
every good image and where the map's peak lies, and for each stage peak memory and seconds. ``effect``: pictures of 1024
x 1024 with defects of 24 to 48 pixels, without tiles and with them: AUROC before and after a text and after examples.
Everything is drawn: a smooth texture with noise, and the defects of ``nand_core.drawing``.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.memory import measure
from benchmarks.scratch import PARAMS, Scratch
from flows.local_server import local_server
from flows.server import wait_for_server
from nand_core.artifacts.maps import MapFile
from nand_core.drawing.photographs import defect
from nand_core.settings import MAP_SIZE

TYPES = ("hole", "metal", "scratch")
DETECTORS: dict[str, Any] = {
    "subspace": {"kind": "subspace"},
    "patchcore": {"kind": "patchcore", "coreset": 0.005},
    "april_gan": {"kind": "april_gan"},
}
STAGES = ("dataset", "examples", "prompts", "text_features", *(f"base_maps {name}" for name in DETECTORS),
          "suppression", "evaluate", "report")  # fmt: skip
BAR = 2048
"""MiB that no stage may take over images of 8000 x 6000."""


def texture(size: tuple[int, int], seed: int) -> np.ndarray:
    """(height, width, 3) uint8: cloudy, and grainy as a camera makes it."""
    width, height = size
    rng = np.random.default_rng(seed)
    clouds = rng.random((height // 40 + 2, width // 40 + 2), np.float32)
    clouds = np.asarray(Image.fromarray(clouds).resize(size, Image.Resampling.BICUBIC)) - 0.5
    made = np.empty((height, width, 3), np.uint8)
    for channel, (mean, range_) in enumerate(((120, 24), (110, 22), (96, 20))):
        grain = 6 * rng.standard_normal((height, width), np.float32)
        made[..., channel] = np.clip(mean + range_ * clouds + grain, 0, 255)
    return made


def damaged(pixels: np.ndarray, kind: str, sides: tuple[int, int], seed: int) -> tuple[int, int]:
    """Draw one defect whose longer extent lies between ``sides``, in a window twice as wide; the defect's middle."""
    rng = np.random.default_rng([seed, 1])
    side = 2 * sides[1]
    x, y = (int(rng.integers(side, length - 2 * side)) for length in pixels.shape[1::-1])
    window, extent, middle = pixels[y : y + side, x : x + side], 0, (0, 0)
    while not sides[0] <= extent <= sides[1]:
        change, label = defect(rng, window.astype(np.float32) / 255, kind, grey=False)
        if (label > 0).any():  # some are too faint to be seen
            places = np.argwhere(label > 0)
            low, high = places.min(axis=0), places.max(axis=0)
            extent, middle = int((high - low).max()) + 1, (int(low[1] + high[1]) // 2, int(low[0] + high[0]) // 2)
    window[:] = np.clip(window + 255 * change, 0, 255)
    return x + middle[0], y + middle[1]


def draw(root: Path, size: tuple[int, int], counts: tuple[int, int, int], kinds: tuple[str, ...],
         sides: tuple[int, int], suffix: str) -> dict[str, tuple[int, int]]:  # fmt: skip
    """A class in MVTec AD's layout with so many images to fit on, good ones to test and ones of each kind.

    Returns:
        Where in each damaged image the defect is.
    """
    places, seed = {}, 0
    wanted = {"train/good": counts[0], "test/good": counts[1], **{f"test/{kind}": counts[2] for kind in kinds}}
    for folder, count in wanted.items():
        (root / "plate" / folder).mkdir(parents=True)
        for number in range(count):
            path, pixels = f"plate/{folder}/{number:03}.{suffix}", texture(size, seed)
            if not folder.endswith("good"):
                places[path] = damaged(pixels, folder.removeprefix("test/"), sides, seed)
            Image.fromarray(pixels).save(root / path, quality=95)
            seed += 1
    return places


def project(folder: Path, encoder: dict[str, Any], **sections: Any) -> Scratch:
    """A project whose images lie in ``folder/data``."""
    made = Scratch(folder / "project", copy.deepcopy(PARAMS))
    made.params |= {"dataset": {"kind": "folder", "root": str(folder / "data")}, "detectors": DETECTORS,
                    "encoder": {"device": "cpu", **encoder}, "report": {"gallery": 1}, **sections}  # fmt: skip
    made.create()
    return made


def large(console: Console, model: str) -> bool:
    """Whether every defect was found, and no stage took more than ``BAR``."""
    size, judged = (8000, 6000), "hole"
    with tempfile.TemporaryDirectory(prefix="nand-large-") as name:
        folder = Path(name)
        with get_context("spawn").Pool(1) as pool:  # its memory would count as that of every process started after
            places = pool.apply(draw, (folder / "data", size, (2, 2, 1), TYPES, (28, 32), "jpg"))
        tiled = {"model": model, "tiles": {"size": 512, "overlap": 64}}
        made = project(folder, tiled, prompts={"normalities": {"plate": [judged]}})
        used: dict[str, tuple[float, float]] = {}
        with local_server(made.folder / ".nand/prefect", made.environment) as url:
            wait_for_server(url)
            made.environment["PREFECT_API_URL"] = url
            for stage in STAGES:
                used[stage] = measure(made, tuple(stage.split()))
                print(f"{stage}: {used[stage][0]:.0f} MiB, {used[stage][1]:.0f} s", flush=True)
            inbox = made.folder / "inspection/inbox/plate"
            inbox.mkdir(parents=True)
            for detector in DETECTORS:
                shutil.copy(folder / "data" / next(iter(places)), inbox / f"{detector}.jpg")
                used[f"inspection {detector}"] = measure(
                    made, ("inspection", "inspection", detector, "params.yaml", "0")
                )
        found = pd.DataFrame(_found(made.folder, places, size))
    table = Table(title=f"{model}: {size[0]} x {size[1]}, defects of 30 pixels, tiles of 512 overlapping by 64")
    for column in ("stage", "peak MiB", "seconds"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, (memory, seconds) in used.items():
        table.add_row(stage, f"{memory:.0f}", f"{seconds:.0f}")
    console.print(table)
    console.print(found.to_string(index=False))
    return bool(found["above all good"].all()) and max(memory for memory, _ in used.values()) <= BAR


def _found(folder: Path, places: dict[str, tuple[int, int]], size: tuple[int, int]) -> list[dict[str, Any]]:
    rows = []
    for detector in DETECTORS:
        file = MapFile(folder / "artifacts/base_maps" / detector / "plate.npz")
        maps = dict(zip(file.ids, file[:], strict=True))
        best = max(one.max() for name, one in maps.items() if name not in places)
        for name, (x, y) in places.items():
            top = np.unravel_index(maps[name].argmax(), maps[name].shape)
            away = max(abs((top[1] + 0.5) * size[0] / MAP_SIZE - x), abs((top[0] + 0.5) * size[1] / MAP_SIZE - y))
            score = maps[name].max()
            rows.append({"detector": detector, "image": name, "score / best good": round(float(score / best), 2),
                         "above all good": bool(score > best), "peak off by pixels": round(away)})  # fmt: skip
    return rows


def effect(console: Console, model: str) -> None:
    """AUROC without tiles and with them."""
    with tempfile.TemporaryDirectory(prefix="nand-effect-") as name:
        rows = []
        for number, tiles in enumerate((None, {"size": 512, "overlap": 64}, {"size": 256, "overlap": 64})):
            folder = Path(name) / str(number)
            if number:
                folder.mkdir()
                (folder / "data").symlink_to(Path(name) / "0/data")
            else:
                draw(folder / "data", (1024, 1024), (12, 16, 8), TYPES, (24, 48), "png")
            protocol = {"bootstrap": 50, "examples": {"images": [5], "draws": 2}}
            made = project(folder, {"model": model, "tiles": tiles}, evaluation=protocol)
            made.measured()
            auroc = pd.read_parquet(made.folder / "results/auroc.parquet")
            shown = pd.read_parquet(made.folder / "results/examples.parquet")
            for detector in DETECTORS:
                row = {"tiles": "none" if tiles is None else tiles["size"], "detector": detector}
                for table, names in ((auroc, ("before", "after", "bound")), (shown, ("before", "after", "bound"))):
                    mean = table.loc[table["detector"] == detector, [f"auroc_{name}" for name in names]].mean().round(1)
                    how = "by text" if table is auroc else "by example"
                    row |= {f"{name} {how}": mean[f"auroc_{name}"] for name in names}
                rows.append(row)
        console.print(f"{model}: 1024 x 1024, defects of 24 to 48 pixels")
        console.print(pd.DataFrame(rows).to_string(index=False))


def main() -> int:
    """Run one part, or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("large", "effect"))
    parser.add_argument("--model", default="embedded", help="or efficientnet_lite0")
    asked, console = parser.parse_args(), Console(width=120)
    good = True
    if asked.part != "effect":
        good = large(console, asked.model)
    if asked.part != "large":
        effect(console, asked.model)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
