"""What every stage's flow does: settings in, items through the cache, counts and progress out."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar, cast
from uuid import UUID

import pandas as pd
from filelock import FileLock
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import as_completed
from tqdm import tqdm

from flows.record import StageCounts, record_stage
from flows.runners import cancel
from nand_core.artifacts.disk import TEMPORARY, refusals
from nand_core.artifacts.remote import open_store
from nand_core.artifacts.store import Record, Store
from nand_core.artifacts.usage import note_current
from nand_core.config import Params, check_names, load_params
from nand_core.datasets.manifest import deep_bits
from nand_core.errors import NandError
from tasks.cache import Item, Spec, key_of, stored_in
from tasks.work import Work

ARTIFACTS = Path("artifacts")
RESULTS = Path("results")
MANIFEST = ARTIFACTS / "manifest.parquet"
STATE = Path(".nand")
SOON, OFTEN = 2.0, 10.0
"""Seconds until the log first says how far a stage is, and between its lines after that."""

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Run:
    """One stage's run.

    Attributes:
        stage: its name in dvc.yaml.
        params: the validated settings.
        work: what its items share.
        hold: keeps ``nand cache prune`` from the store until the stage has ended.
    """

    stage: str
    params: Params
    work: Work
    hold: BinaryIO
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

        Raises the first failure after the items that are running have ended; what was finished is kept.
        """
        stage = stage or self.stage
        counts = self.counts.setdefault(stage, StageCounts())
        before = time.monotonic()
        cached_task = stored_in(made, self.work.store)
        wanted = {key: key_of(made, spec) for key, spec in specs.items()}
        # Asked for several times it is computed once, and is not "from the cache" the other times.
        first: dict[str, Key] = {}
        for key, item in wanted.items():
            first.setdefault(item, key)
        futures = {item: cached_task.submit(specs[key], self.work) for item, key in first.items()}
        names = {future: first[item] for item, future in futures.items()}
        progress = _Progress(stage, len(futures))
        try:
            for future in as_completed(list(futures.values())):
                future.wait()  # brings the final state over; asked before that, the server may lag behind
                if not future.state.is_completed():
                    for other in futures.values():
                        cancel(other)
                    get_run_logger().error("%s: item %s failed", stage, _named(names[future]))
                    future.result()
                cached = future.state.name == "Cached"
                counts.items += 1
                counts.cached += cached
                counts.executed += not cached
                progress.step(cached)
        finally:
            progress.close()
        records = {key: Record.model_validate(futures[item].result()) for key, item in wanted.items()}
        counts.seconds += time.monotonic() - before
        self.used.update(wanted.values())
        return records

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
    get_run_logger().info("waiting for the end of 'nand cache prune' in %s", store.root)
    return store.hold()


def _named(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


class Told:
    """A line of the log after two seconds, then every ten, and one at the end of what took so long."""

    def __init__(self, stage: str, what: str) -> None:
        self._stage, self._what = stage, what
        self._logger, self._next = get_run_logger(), time.monotonic() + SOON

    def __call__(self, done: int, total: int) -> None:
        late = time.monotonic() >= self._next
        if late:
            self._next = time.monotonic() + OFTEN
        if late or (done == total):
            self._logger.info("%s: %d of %d %s", self._stage, done, total, self._what)


class _Progress:
    """A bar in a terminal; elsewhere a line now and then, and a progress artifact for Prefect's page."""

    def __init__(self, stage: str, total: int) -> None:
        self._stage, self._total, self._done, self._cached = stage, total, 0, 0
        self._bar = tqdm(total=total, desc=stage, unit="item", disable=not sys.stderr.isatty(), leave=False)
        self._logger = get_run_logger()
        self._started = self._last = time.monotonic()
        self._artifact: UUID | None = None
        self._ended = threading.Event()
        if self._bar.disable:
            threading.Thread(target=self._tell, daemon=True).start()

    def step(self, cached: bool) -> None:
        self._done += 1
        self._cached += cached
        self._bar.update()
        if self._bar.disable and self._done < self._total and time.monotonic() - self._last > OFTEN:
            self._last = time.monotonic()
            self._show()

    def _tell(self) -> None:
        """Say how far it is, however long a single item takes."""
        wait = SOON
        while not self._ended.wait(wait):
            wait, passed = OFTEN, time.monotonic() - self._started
            left = f", about {passed / self._done * (self._total - self._done):.0f} s left" if self._done else ""
            self._logger.info("%s: %d of %d items%s", self._stage, self._done, self._total, left)

    def _show(self) -> None:
        """Stages that end within seconds show nothing."""
        percent = 100 * self._done / self._total
        if self._artifact is None:
            key = f"progress-{re.sub('[^a-z0-9]+', '-', self._stage)}"
            made = create_progress_artifact(percent, key=key, description=f"{self._stage}: items done")
            self._artifact = cast(UUID, made)  # a coroutine in an event loop alone
        else:
            update_progress_artifact(self._artifact, percent)

    def close(self) -> None:
        self._ended.set()
        self._bar.close()
        if self._artifact is not None:
            self._show()
        self._logger.info("%s: %d of %d items (%d from the cache)", self._stage, self._done, self._total, self._cached)
