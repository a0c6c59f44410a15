"""``make rehearsal``: profiles/mvtec_ad.yaml through ``nand repro`` in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from benchmarks.rehearsal.models import small_settings
from benchmarks.rehearsal.tree import draw_miniature
from benchmarks.scratch import ROOT, Scratch
from nand_core.config import load_params
from nand_core.errors import NandError
from nand_core.report.paper import paper_numbers

FOLDER = ROOT / ".nand/rehearsal"
PROFILE = ROOT / "profiles/mvtec_ad.yaml"


def prepare(folder: Path) -> None:
    """A project in ``folder``: a copy of the code, the profile with small models, a miniature of the data set."""
    shutil.rmtree(folder, ignore_errors=True)
    params = load_params(PROFILE)
    values = small_settings(params, folder)
    values["report"]["title"] = "Rehearsal: small random models on drawn images, the figures mean nothing"
    values["dataset"]["check_counts"] = False  # a miniature never has the official numbers of images
    Scratch(folder, values).create()
    draw_miniature(folder / params.dataset.root)


def against_paper(folder: Path) -> pd.DataFrame:
    """The means beside the paper's Table 3.

    Raises:
        NandError: a group of Table 2 or a detector of Table 3 is missing in the run or on the page.
    """
    auroc = pd.read_parquet(folder / "results/auroc.parquet")
    means = pd.read_json(folder / "results/metrics.json", orient="index")[["auroc_before", "auroc_after"]]
    paper = paper_numbers("mvtec_ad", auroc)
    page = (folder / "results/report/index.html").read_text(encoding="utf-8")
    unseen = [name for name in means.index if name not in paper.detectors]
    pairs = [*paper.groups.values(), *paper.detectors.values()]
    unshown = [pair for pair in pairs if f"{pair[0]:.1f} → {pair[1]:.1f}" not in page]
    if unseen or unshown or len(paper.groups) != len(auroc) / len(means):
        raise NandError(f"not comparable with the paper: {unseen or unshown or f'{len(paper.groups)} groups'}")
    return means.assign(
        paper_before=[paper.detectors[name][0] for name in means.index],
        paper_after=[paper.detectors[name][1] for name in means.index],
    )


def main() -> int:
    """Prepare, run, compare; exit status 1 if anything of the paper's setting is missing."""
    started = time.monotonic()
    try:
        prepare(FOLDER)
        print(f"rehearsal in {FOLDER.relative_to(ROOT)}: prepared in {time.monotonic() - started:.0f} s", flush=True)
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        code = subprocess.call([sys.executable, "-m", "nand", "repro"], cwd=FOLDER, env=offline)
        if code:
            return code
        table = against_paper(FOLDER)
    except NandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\nSmall random models on drawn images: the figures mean nothing. The paper's stand beside them.")
    print(table.round(1).to_string())
    results = FOLDER.relative_to(ROOT) / "results"
    print(f"Table 2: {results}/tables/april_gan.md    Table 3: {results}/tables/summary.md")
    print(f"both beside the paper's: {results}/report/index.html    took {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
