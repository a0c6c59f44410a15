"""One class of the data set: every image and mask of it decoded once."""

from __future__ import annotations

import io

import pandas as pd

from nand_core.artifacts.store import Record
from nand_core.datasets.manifest import check_images
from tasks.cache import Spec, item
from tasks.work import Work


class ClassSpec(Spec):
    """The manifest rows of one class, with the digests of its files."""

    class_name: str
    rows: tuple[dict[str, str], ...]


@item
def dataset(spec: ClassSpec, work: Work) -> Record:
    """The class's rows with the images' sizes, as Parquet."""
    frame = check_images(pd.DataFrame(list(spec.rows)), work.root)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return work.store.put(buffer.getvalue(), "parquet")
