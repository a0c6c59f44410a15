"""What every stage's flow does: settings in, items through the cache, counts and progress out."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import pandas as pd
from filelock import FileLock

from flows.progress import bar, in_flow, teller
from flows.record import StageCounts, record_stage
from nand_core.artifacts.disk import TEMPORARY, refusals
from nand_core.artifacts.remote import open_store
from nand_core.artifacts.store import Record, Store
from nand_core.artifacts.usage import note_current
from nand_core.config import Params, check_names, load_params
from nand_core.datasets.manifest import deep_bits
from nand_core.errors import NandError
from tasks.cache import Item, Spec
from tasks.work import Work

ARTIFACTS = Path("artifacts")
RESULTS = Path("results")
MANIFEST = ARTIFACTS / "manifest.parquet"
STATE = Path(".nand")

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Run:
    """One stage's run.

    Attributes:
        stage: its name in dvc.yaml.
        params: the validated settings.
        work: what its items share.
        hold: keeps ``nand cache prune`` from the store until the stage has ended.
        shown: whether a terminal sees how far it is.
    """

    stage: str
    params: Params
    work: Work
    hold: BinaryIO
    shown: bool = True
    used: set[str] = field(default_factory=set)
    counts: dict[str, StageCounts] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, stage: str, params_file: Path) -> Run:
        """Read the settings and check the names in them against the manifest, where there is one."""
        params = load_params(params_file)
        store = open_store(STATE)
        run = cls(stage, params, Work(params, Path(params.dataset.root), store), hold_store(store))
        if stage not in ("demo_data", "dataset"):
            check_names(params, run.manifest)
        return run

    @property
    def manifest(self) -> pd.DataFrame:
        """The manifest of the dataset stage."""
        try:
            return pd.read_parquet(MANIFEST)
        except (OSError, ValueError) as error:
            raise NandError(f"{MANIFEST}: not readable ({error}); run the dataset stage") from error

    @property
    def bits(self) -> int | None:
        """How many count in 16-bit images: as the manifest has it, else the settings; None where neither says."""
        return deep_bits(self.manifest) or self.params.dataset.bits

    def items(self, made: Item, specs: Mapping[Key, Spec], stage: str | None = None) -> dict[Key, Record]:
        """Run an item for each spec, those in the cache without computing; keeps the order of ``specs``.

        In a flow as Prefect's tasks; outside of one here and now, in as many threads as there are ``workers``.
        Raises the first failure after the items that are running have ended; what was finished is kept.
        """
        stage = stage or self.stage
        counts = self.counts.setdefault(stage, StageCounts())
        before = time.monotonic()
        wanted = {key: made.key(spec) for key, spec in specs.items()}
        # Asked for several times it is computed once, and is not "from the cache" the other times.
        first: dict[str, Key] = {}
        for key, item in wanted.items():
            first.setdefault(item, key)
        once = {item: specs[key] for item, key in first.items()}
        if in_flow():
            from flows.submitted import submitted

            computed = submitted(made, once, {item: _named(key) for item, key in first.items()}, self.work, stage)
        else:
            computed = self._here(made, once, stage)
        records = {}
        for item, record, cached in computed:
            records[item] = record
            counts.count(cached)
        counts.seconds += time.monotonic() - before
        self.used.update(once)
        return {key: records[item] for key, item in wanted.items()}

    def _here(self, made: Item, specs: Mapping[str, Spec], stage: str) -> Iterator[tuple[str, Record, bool]]:
        with ThreadPoolExecutor(self.params.run.workers) as pool, bar(stage, len(specs), self.shown) as shown:
            found = pool.map(lambda spec: self.record(made, spec), specs.values())
            for item, (record, cached) in zip(specs, found, strict=True):
                shown.update()
                yield item, record, cached

    def record(self, made: Item, spec: Spec) -> tuple[Record, bool]:
        """What an item gives, without Prefect, and whether the cache had it."""
        return made.record(spec, self.work)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone among the runs of this checkout, with gone what a killed one left half-written among the outs."""
        with refusals(STATE), FileLock(STATE / "outs.lock"):
            for folder in (ARTIFACTS, RESULTS):
                for path in folder.rglob(f"{TEMPORARY}*"):
                    path.unlink(missing_ok=True)
            yield

    def finish(self) -> None:
        """Write the counts to ``.nand/last_run.json`` and the items that were used to ``.nand/used``."""
        own = self.counts.setdefault(self.stage, StageCounts())
        own.seconds = (
            time.monotonic()
            - self.started
            - sum(counts.seconds for name, counts in self.counts.items() if name != self.stage)
        )
        for stage, counts in self.counts.items():
            record_stage(STATE, stage, counts)
        note_current(STATE / "used", self.stage, self.used)
        self.hold.close()


def hold_store(store: Store) -> BinaryIO:
    """Use the store together with others, not while it is being pruned."""
    if held := store.hold(wait=False):
        return held
    teller()(f"waiting for the end of 'nand cache prune' in {store.root}")
    return store.hold()


def _named(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
