"""The manifest: which images there are, checked one by one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from flows.progress import Told
from flows.run import MANIFEST, Run
from nand_core.artifacts.disk import replacing
from nand_core.config import check_names
from nand_core.datasets.manifest import digest_files, duplicates, scan, with_bits
from tasks.dataset import ClassSpec
from tasks.dataset import dataset as check_class


def dataset(params: str = "params.yaml") -> None:
    """Write ``artifacts/manifest.parquet``."""
    run = Run.start("dataset", Path(params))
    found = scan(run.params.dataset, run.work.root)
    check_names(run.params, found)
    told = Told("dataset", "images read")
    found = digest_files(found, run.work.root, lambda _, done, total: told(done, total))
    specs = {
        str(name): ClassSpec(class_name=str(name), rows=tuple(rows.to_dict("records")))
        for name, rows in found.groupby("class", sort=True)
    }
    records = run.items(check_class, specs)
    frame = pd.concat([pd.read_parquet(run.work.store.path(record)) for record in records.values()])
    for line in duplicates(frame):
        print(f"warning: {line}", flush=True)
    frame = with_bits(frame, run.params.dataset, run.work.root)
    with run.writing(), replacing(MANIFEST) as temporary:
        frame.to_parquet(temporary, index=False)
    run.finish()
