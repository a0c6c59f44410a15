"""Draw the demo data set where the settings ask for it."""

from __future__ import annotations

from pathlib import Path

from flows.progress import Told, teller
from flows.run import Run
from nand_core.datasets.demo import generate

FOLDER = Path("data/demo")


def demo_data(params: str = "params.yaml") -> None:
    """Add what is missing of the demo data set; images that are there stay as they are."""
    run = Run.start("demo_data", Path(params))
    FOLDER.mkdir(parents=True, exist_ok=True)
    if run.params.dataset.kind == "demo":
        generate(run.work.root, run.params.dataset.demo, Told("demo_data", f"images in {run.work.root}"))
    else:
        kind, root = run.params.dataset.kind, run.work.root
        teller()(f"demo_data: nothing to draw, the images are those of {root} (dataset.kind: {kind})")
    run.finish()
