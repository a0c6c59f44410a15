"""Draw the demo data set where the settings ask for it."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from flows.run import Run, Told
from nand_core.datasets.demo import generate

FOLDER = Path("data/demo")


@flow(name="demo_data")
def demo_data(params: str = "params.yaml") -> None:
    """Add what is missing of the demo data set; images that are there stay as they are."""
    run = Run.start("demo_data", Path(params))
    FOLDER.mkdir(parents=True, exist_ok=True)
    if run.params.dataset.kind == "demo":
        generate(run.work.root, run.params.dataset.demo, Told("demo_data", f"images in {run.work.root}"))
    else:
        kind, root = run.params.dataset.kind, run.work.root
        get_run_logger().info("demo_data: nothing to draw, the images are those of %s (dataset.kind: %s)", root, kind)
    run.finish()
