"""Draw the demo data set where the settings ask for it."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from flows.run import Run
from nand_core.datasets.demo import generate

FOLDER = Path("data/demo")


@flow(name="demo_data")
def demo_data(params: str = "params.yaml") -> None:
    """Add what is missing of the demo data set; images that are there stay as they are."""
    run = Run.start("demo_data", Path(params))
    FOLDER.mkdir(parents=True, exist_ok=True)
    if run.params.dataset.kind == "demo":
        logger = get_run_logger()

        def progress(done: int, total: int) -> None:
            if done % 100 == 0 or done == total:
                logger.info("demo_data: %d of %d images in %s", done, total, run.work.root)

        generate(run.work.root, run.params.dataset.demo, progress)
    run.finish()
